package cuda

import (
	"unsafe"

	"github.com/troupe-llm/troupe/gpu/batch"
	"github.com/troupe-llm/troupe/gpu/kernel"
)

// readResult fills in a result from the memory that kernels wrote, laid out
// for the most rows: see kernel.ResultBytes.
func readResult(r *batch.Result, memory []byte, rows []launched, most int) {
	tokens := unsafe.Slice((*int32)(unsafe.Pointer(&memory[0])), most)
	logprobs := unsafe.Slice((*float32)(unsafe.Pointer(&memory[4*most])), most)
	tops := unsafe.Slice((*kernel.Alternative)(unsafe.Pointer(&memory[8*most])), most*kernel.MaxTop)
	wanted := false
	for i, row := range rows {
		t := batch.NoToken
		if row.sample {
			t = tokens[i]
		}
		r.Tokens = append(r.Tokens, t)
		wanted = wanted || row.logprobs > 0
	}
	if !wanted {
		return
	}
	for i, row := range rows {
		var l batch.Logprob
		if row.sample && row.logprobs > 0 {
			if r.Tokens[i] != batch.NoToken {
				l.Token = logprobs[i]
			}
			for _, a := range tops[i*kernel.MaxTop:][:min(int(row.logprobs)-1, kernel.MaxTop)] {
				l.Top = append(l.Top, batch.TokenLogprob{Token: a.Token, Logprob: a.Logprob})
			}
		}
		r.Logprobs = append(r.Logprobs, l)
	}
}

// launched is what Wait must know of a row.
type launched struct {
	sample   bool
	logprobs int32
}
