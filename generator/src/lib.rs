//! Day-1 parameters in, MachineConfig out.
