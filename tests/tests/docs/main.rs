//! The pages say what is so: links lead somewhere, the reference is the catalog's, what the README shows is what a
//! reader gets, and each rule of the outside world has a test.

mod applications;
mod conformance;
mod links;
mod readme;
mod recipes;
mod reference;
