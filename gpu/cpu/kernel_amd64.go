package cpu

func choose() *kernels     { return &portable }
func variants() []*kernels { return []*kernels{&portable} }
func features() []string   { return nil }
func why() string          { return "" }
func pause() {
	for range 32 {
		nothing()
	}
}

//go:noinline
func nothing() {}
