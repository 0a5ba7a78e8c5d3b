package cpu

// fma is x·y+z rounded once: the compiler fuses it, and TestFMARoundsOnce
// would tell if it did not.
func fma(x, y, z float32) float32 { return x*y + z }
