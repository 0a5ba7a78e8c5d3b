// Package program describes one pass of a model as data: a list of typed ops
// over named values, built once per model by package arch.
//
// Read it in this order: value.go (what ops read and write), ops.go (the ops,
// some twenty), weight.go (slots that a checkpoint fills), cost.go (what an op
// must move and compute), fuse.go (which ops a device does in one kernel),
// layout.go (which values share memory), build.go (how a family writes one),
// check.go (what every program keeps to).
//
//	x = Embed(tokens)
//	for each layer:
//	  h = Norm(x)                      q, k, v = Product(h, qkv)
//	  Rope(q, k)   Store(k, v)         a = Attend(q)
//	  Add(x, Product(a, o))            h = Norm(x)
//	  Add(x, Product(Gate(Product(h, gate_up)), down))
//	logits = Product(Norm(Gather(x)), head)
//
// How many rows values have is known step by step; everything else is fixed. A
// device compiles a program into a plan: it fuses ops by its rules, gives
// values memory, and looks nothing up any more. A simulator prices the same
// ops; sizes and limits are computed from them.
//
// Drawing tokens from logits is not part of a program: all models do it alike.
package program
