//! outlier: real-time anomaly detection for logs.
