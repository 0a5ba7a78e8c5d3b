package cuda

import (
	"fmt"

	"github.com/troupe-llm/troupe/gpu/device"
	"github.com/troupe-llm/troupe/gpu/kernel"
	"github.com/troupe-llm/troupe/gpu/model"
	"github.com/troupe-llm/troupe/gpu/program"
)

// Formats are the encodings of checkpoints that are taken: kernels multiply
// bfloat16 and, of projections, 4 bits and on Hopper FP8; float32 loses digits, and what
// else is quantised becomes what it stands for.
var Formats = append(device.Formats{
	{Element: model.BFloat16, Held: wide.Matrix},
	{Element: model.Float8, Held: model.Plain(model.Float8)},
	{Element: model.Float16, Held: wide.Matrix},
	{Element: model.Float32, Held: wide.Matrix},
	{Element: model.Packed4, Held: fourBits},
	{Element: model.GPTQ4, Held: fourBits},
	{Element: model.AWQ4, Held: fourBits},
	{Element: model.Q4_0, Held: model.InGroups(model.Int4, 32)},
	{Element: model.MXFP4, Held: model.Plain(model.MXFP4)},
}, device.Quantized(wide.Matrix, model.Float8, model.MXFP4, model.Packed4, model.GPTQ4, model.AWQ4, model.Q4_0)...)

var fourBits = model.InGroups(model.Int4, 128)

// wide is how weights lie on the device that are not in FP8.
var wide = model.HeldAs(model.BFloat16)

// hopper is the compute capability of GPUs that have kernels of their own.
const hopper = device.Hopper

// settle fills in the sizes that do not depend on free memory, and refuses what
// cannot be computed by a GPU of that compute capability.
func settle(spec *device.Spec, capability int) (device.Info, error) {
	info, err := device.GPU.Settle(spec)
	info.DType, info.KVDType, info.Scores = model.BFloat16, model.BFloat16, true
	if err != nil {
		return info, err
	}
	if spec.DType != "" && spec.DType != "auto" && spec.DType != model.BFloat16 && spec.DType != model.Int4 {
		return info, fmt.Errorf("weights of type %q; the kernels take bfloat16 and int4, the processor (\"cpu\") float32 and int8 as well", spec.DType)
	}
	switch spec.KVDType {
	case "", "auto", model.BFloat16:
	case model.Float8:
		info.KVDType = model.Float8
	default:
		return info, fmt.Errorf("keys and values of type %q; the kernels take bfloat16 and float8_e4m3, the processor (\"cpu\") float32 and int8 as well", spec.KVDType)
	}
	if info.Vocab <= 0 || info.Vocab > kernel.MaxVocab {
		return info, fmt.Errorf("a vocabulary of %d; at most %d", info.Vocab, kernel.MaxVocab)
	}
	if err := Formats.Check(spec.Model); err != nil {
		return info, err
	}
	held, err := device.HeldOnGPU(spec.Model, spec.DType, spec.Quantization, capability)
	if err != nil {
		return info, err
	}
	if held.Own != nil {
		info.Held = &held
	}
	if spec.Deterministic {
		if err := undetermined(spec, held.Codes); err != nil {
			return info, err
		}
	}
	p := spec.Model.Config.Program
	shape := shapeOf(p)
	shape.KVCodes = info.KVDType == model.Float8
	_, err = compile(p, &machine{shape: shape, held: held, deterministic: spec.Deterministic, meetings: unmet(spec.Rank)})
	return info, err
}

// shapeOf is what a program says of the shape of kernels. Where its attention
// differs, compiling refuses it. Latent attention takes any number of heads; a
// program of which all attention is latent has kernels for one head that are not
// run.
func shapeOf(p *program.Program) kernel.Shape {
	s := kernel.Shape{Heads: 1, KVHeads: 1, HeadDim: 64}
	for _, op := range p.Ops {
		switch o := op.(type) {
		case *program.Attend:
			if o.Cache.Shared {
				s.Latent = true
			} else {
				s.Heads, s.KVHeads, s.HeadDim = o.Heads, o.Cache.Heads, o.Cache.KeyDim
			}
		case *program.ExpertProduct:
			s.Experts = true
		}
	}
	return s
}

// stages is how many copies attention keeps under way in the shared memory
// that two blocks of a multiprocessor leave each other, or one block alone.
func stages(s kernel.Shape, shared int) int {
	return max(2, min(3, shared/s.StageBytes()))
}
