//go:build !cuda

package cuda

import "errors"

// Libraries says for each of CUDA's libraries where its file is, or where it was
// looked for. A build with CUDA opens them, too.
func Libraries() []Found { return here().Find() }

// Usable says that this build runs no GPU.
func Usable() error { return errors.New("cuda: this program was built without CUDA (build tag cuda)") }

// Peers says nothing: this build sees no GPUs.
func Peers() string { return "" }
