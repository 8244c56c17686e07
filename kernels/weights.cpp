// Placeholder until the matrices land.
