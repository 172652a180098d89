//! Rebuilds the crate when a schema file is added or removed: `include_dir` sees changes only.

fn main() {
    println!("cargo:rerun-if-changed=avro");
    println!("cargo:rerun-if-changed=topics.yaml");
}
