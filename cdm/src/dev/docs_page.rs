//! `/docs` of the dev server: `openapi.yaml` as a page to read and to try, with the demo key filled in. The binary
//! contains everything that the page loads.

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::response::Html;
use axum::routing::get;
use swagger_ui_dist::{ApiDefinition, OpenApiSource, generate_routes};

use testkit::demo;

/// The page's path.
pub(crate) const PATH: &str = "/docs";

const OPENAPI: &str = include_str!("../../../openapi.yaml");
const PAGE: &str = include_str!("docs_page.html");

/// The page and everything that it loads.
pub(crate) fn routes() -> Router {
    let page = Html(PAGE.replace("{{demo key}}", demo::KEY));
    // Swagger UI generates its own page, which does not know the key. Only its assets are used.
    let assets = generate_routes(ApiDefinition {
        uri_prefix: "/docs/assets",
        api_definition: OpenApiSource::Uri("/docs/openapi.yaml"),
        title: None,
    });
    Router::new()
        .route(PATH, get(page))
        .route("/docs/openapi.yaml", get(([(CONTENT_TYPE, "application/yaml")], OPENAPI)))
        .merge(assets)
}
