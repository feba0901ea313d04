//! The two limits that the store enforces.

/// How many associations one customer and one phone number may have, both within one client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Phone numbers per customer record.
    pub phones_per_customer: u32,
    /// Customers per phone number.
    pub customers_per_phone: u32,
}

impl Limits {
    /// The limits of the published API. Source: the page "Add phone number".
    pub const CONTRACT: Self = Self { phones_per_customer: 50, customers_per_phone: 50 };
}
