//! The throwaway cluster and what the demo does on it.
