"""Tests the check of vendored C in scripts/deploy/sbom: it finds the versions in scripts/checks/known-bad, and fails for a crate
whose C it does not know."""

import contextlib
import importlib.util
import io
import tempfile
import unittest
from importlib.machinery import SourceFileLoader
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
loader = SourceFileLoader("sbom", str(ROOT / "scripts/deploy/sbom"))
sbom = importlib.util.module_from_spec(importlib.util.spec_from_loader("sbom", loader))
loader.exec_module(sbom)

KNOWN = "# a comment\n\nlib  2.0.0  2.4.3  https://example.com/advisory why\n"


class KnownBadTest(unittest.TestCase):
    def test_finds_a_bad_version(self):
        libraries = {("crate", "1.0.0"): ("lib", "2.3.2", "pkg:generic/lib@2.3.2"), ("ring", "0.17.14"): ("ring", "0.17.14", "")}
        with contextlib.redirect_stdout(io.StringIO()) as shown:
            self.assertEqual(sbom.check(libraries, KNOWN), 1)
        self.assertIn("BAD    lib 2.3.2, in crate 1.0.0: lib  2.0.0  2.4.3  https://example.com/advisory why", shown.getvalue())
        self.assertIn("ok     ring 0.17.14", shown.getvalue())

    def test_both_ends_of_a_range_are_bad(self):
        for version, expected in (("1.9.9", False), ("2.0.0", True), ("2.4.3", True), ("2.4.4", False), ("2.10.0", False), ("3.0.0", False)):
            self.assertEqual(bool(sbom.bad("lib", version, KNOWN)), expected, version)
        self.assertIsNone(sbom.bad("other", "2.3.2", KNOWN))

    def test_rejects_a_line_without_a_reference(self):
        with self.assertRaises(ValueError):
            sbom.bad("lib", "2.3.2", "lib 2.0.0 2.4.3\n")

    def test_the_list_is_valid_and_names_a_bad_mimalloc(self):
        known = (ROOT / "scripts/checks/known-bad").read_text()
        self.assertIn("https://", sbom.bad("mimalloc", "2.3.2", known))
        self.assertIsNone(sbom.bad("mimalloc", "2.4.4", known))
        self.assertIsNone(sbom.bad("mimalloc", "2.5.2", known))

    def test_rejects_a_crate_with_unknown_c(self):
        with tempfile.TemporaryDirectory() as folder:
            crate, folder = ("new-sys", "0.1.0"), Path(folder)
            self.assertEqual(sbom.vendored([crate], {crate: set()}, {crate: folder}), {})
            (folder / "vendor").mkdir()
            (folder / "vendor/new.c").touch()
            with self.assertRaises(SystemExit):
                sbom.vendored([crate], {crate: set()}, {crate: folder})

    def test_reads_the_version_from_the_compiled_header(self):
        with tempfile.TemporaryDirectory() as folder:
            for name, number in (("c_src/mimalloc", 20502), ("c_src/mimalloc3", 30600)):
                header = Path(folder, name, "include/mimalloc.h")
                header.parent.mkdir(parents=True)
                header.write_text(f"#define MI_MALLOC_VERSION {number}   // major + 2 digits minor + 2 digits patch\n")
                (header.parent / "static.c").touch()
            crate = ("libmimalloc-sys2", "0.1.65")
            for features, version in (({"no_thp"}, "2.5.2"), ({"v3"}, "3.6.0")):
                found = sbom.vendored([crate], {crate: features}, {crate: Path(folder)})
                self.assertEqual(found, {crate: ("mimalloc", version, f"pkg:github/microsoft/mimalloc@v{version}")})

    def test_rejects_a_header_of_the_old_form(self):
        with tempfile.TemporaryDirectory() as folder:
            header = Path(folder, "mimalloc.h")
            header.write_text("#define MI_MALLOC_VERSION 217   // major + 2 digits minor\n")
            with self.assertRaises(SystemExit):
                sbom.mimalloc(header)


if __name__ == "__main__":
    unittest.main()
