//! Scenarios, simulation, model, lab and hostile input.

pub mod ambari;
pub mod bench;
pub mod chaos;
pub mod ensemble;
pub mod hostile;
pub mod lab;
pub mod model;
pub mod plain;
pub mod programs;
pub mod sim;
pub mod suite;
