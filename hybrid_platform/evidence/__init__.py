"""Evidence: records of gates and sessions, signed so that a third party can verify them offline."""
