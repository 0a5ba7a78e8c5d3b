package kernel

// State is where a layer's states lie, and how many numbers each is; Copy is
// from one place to another: see states.cu.
type (
	State struct {
		At       Ptr
		Elements int64
	}
	Copy struct{ From, To int32 }
)

// CopyStatesArgs: see states.cu.
type CopyStatesArgs struct{ States, Copies Ptr }

var copyStatesKernel = newKernel[CopyStatesArgs]("states.cu", "copy_states", nil)

// stateParts is how many blocks copy a state.
const stateParts = 16

// CopyStates copies the states of so many layers, so many times.
func CopyStates(q Queue, a CopyStatesArgs, states, copies int) error {
	return launch(q, copyStatesKernel, states*stateParts, copies, 256, &a)
}
