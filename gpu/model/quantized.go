package model

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"github.com/troupe-llm/troupe/gpu/internal/arch"
	"github.com/troupe-llm/troupe/gpu/internal/jsonfile"
	"github.com/troupe-llm/troupe/gpu/program"
)

// form is a way in which files have a tensor of the program: with its name, in
// which an end is replaced.
type form struct {
	end, by string
	bind    func(*binding)
}

// forms, the first that is there counts.
var forms = []form{
	{"", "", (*binding).unpacked},
	{"weight", "qweight", (*binding).words},
	{"weight", "weight_packed", (*binding).packQuantized},
	{"", "_blocks", (*binding).mxfp4},
}

// in is what the form calls a tensor; "": it has none of that name.
func (m *form) in(name string) string {
	if !strings.HasSuffix(name, m.end) {
		return ""
	}
	return strings.TrimSuffix(name, m.end) + m.by
}

// form is how the files have a tensor of the program.
func (s *store) form(name string) *form {
	for i := range forms {
		if other := forms[i].in(name); other != "" && s.present(other) {
			return &forms[i]
		}
	}
	return &forms[0] // which says what is missing
}

// binding views the pieces of one tensor.
type binding struct {
	*store
	scheme arch.Scheme
	faults *jsonfile.Faults
	t      *Tensor
	name   string // of the program, as the files would have it
}

// bind finds one tensor and checks it.
func (s *store) bind(p *program.Part, scheme arch.Scheme, f *jsonfile.Faults) *Tensor {
	name := s.rename(p.Tensor)
	m := s.form(name)
	b := &binding{s, scheme, f, &Tensor{Name: m.in(name), Shape: p.Shape, mapped: s.src.dir != ""}, name}
	b.t.File = s.src.path(s.fileOf(b.t.Name))
	m.bind(b)
	return b.t
}

// fileOf is the file that has a tensor, or should.
func (s *store) fileOf(name string) string {
	if s.index == nil {
		return singleFile
	}
	if file := s.index[name]; file != "" {
		return file
	}
	return indexFile
}

// find finds a tensor of the files, of that shape where one is given.
func (b *binding) find(name string, shape ...int) (raw rawTensor, ok bool) {
	file := b.fileOf(name)
	raw, ok = b.files[file][name]
	switch {
	case !ok:
		b.faults.Addf("%s: tensor %q is missing, want shape %v%s", file, name, shape, b.why())
	case !slices.Equal(raw.shape, shape):
		b.faults.Addf("%s: tensor %q has shape %v, want %v%s", file, name, raw.shape, shape, b.why())
		ok = false
	}
	return raw, ok
}

// why says what the shapes of packed weights come from.
func (b *binding) why() string {
	if b.t.Encoding.Scale == "" && b.t.Encoding.Columns == 0 && b.t.Encoding.Rows == 0 {
		return ""
	}
	of := fmt.Sprintf(" for %s of %v", b.t.Encoding.Element, b.t.Shape)
	switch e := b.t.Encoding; {
	case e.Columns == 0:
		return of
	case e.Rows > 1:
		return fmt.Sprintf("%s in blocks of %d × %d", of, e.Rows, e.Columns)
	default:
		return fmt.Sprintf("%s in groups of %d", of, e.Columns)
	}
}

// typed finds a tensor of one of some types of safetensors.
func (b *binding) typed(name string, types []string, shape ...int) (rawTensor, bool) {
	raw, ok := b.find(name, shape...)
	if ok && !slices.Contains(types, raw.dtype) {
		b.faults.Unsupportedf("%s: tensor %q is %s, want %s", b.fileOf(name), name, raw.dtype, alternatives(types))
		ok = false
	}
	return raw, ok
}

// alternatives are "A, B or C".
func alternatives(words []string) string {
	if n := len(words) - 1; n > 0 {
		return strings.Join(words[:n], ", ") + " or " + words[n]
	}
	return words[0]
}

var (
	plainTypes = []string{"BF16", "F16", "F32"}
	int32s     = []string{"I32"}
	bytesTypes = []string{"U8"}
)

// unpacked is elements as the program has them; those of FP8 have scales.
func (b *binding) unpacked() {
	raw, ok := b.typed(b.t.Name, append(slices.Clone(plainTypes), "F8_E4M3"), b.t.Shape...)
	if !ok {
		return
	}
	b.t.Encoding, b.t.Data = Plain(dtypes[raw.dtype]), raw.data
	if b.t.Encoding.Element == Float8 {
		b.fp8()
	}
}

// fp8 finds the scales of E4M3: by blocks where the scheme says so, else of each
// output or of all.
func (b *binding) fp8() {
	rows, columns := b.t.matrix()
	e, name := &b.t.Encoding, b.name+"_scale"
	if b.present(b.name + "_scale_inv") {
		name = b.name + "_scale_inv"
	}
	shape := []int{rows, 1}
	if block := b.scheme.Block; block[0] > 0 {
		e.Rows, e.Columns = block[0], block[1]
		shape = []int{int(blocks(rows, e.Rows)), int(blocks(columns, e.Columns))}
	} else if raw, ok := b.files[b.fileOf(name)][name]; ok {
		switch {
		case len(raw.shape) == 0 || len(raw.shape) == 1 && raw.shape[0] == 1:
			shape = raw.shape
		default:
			e.Rows = 1
			if len(raw.shape) == 1 {
				shape = shape[:1]
			}
		}
	}
	if len(b.t.Shape) != 2 {
		b.faults.Unsupportedf("%s: tensor %q: FP8 of shape %v is not supported, only matrices", b.t.File, b.t.Name, b.t.Shape)
		return
	}
	b.scales(name, append(slices.Clone(plainTypes), "F8_E8M0"), shape...)
}

// scales finds them.
func (b *binding) scales(name string, types []string, shape ...int) {
	b.t.Encoding.Scale = Float32 // until it is known: the shapes matter
	if raw, ok := b.typed(name, types, shape...); ok {
		b.t.Scales, b.t.Encoding.Scale = raw.data, dtypes[raw.dtype]
	}
}

// sibling is a tensor of the same module.
func (b *binding) sibling(what string) string { return strings.TrimSuffix(b.name, "weight") + what }

// pack sets how words hold matrices; false: the scheme is of another method.
func (b *binding) pack(elements map[int]DType, methods ...arch.Method) bool {
	e, known := elements[b.scheme.Bits]
	if !known || !slices.Contains(methods, b.scheme.Method) || len(b.t.Shape) != 2 {
		b.faults.Addf("%s: tensor %q stands for weights of shape %v, but quantization_config says of them %q in %d bits",
			b.t.File, b.t.Name, b.t.Shape, b.scheme.Method, b.scheme.Bits)
		return false
	}
	b.t.Encoding = Encoding{Element: e, Scale: Float32, Rows: 1, Columns: b.scheme.Group}
	return true
}

// words finds the pieces of GPTQ's and AWQ's matrices.
func (b *binding) words() {
	elements := map[int]DType{4: GPTQ4, 8: GPTQ8}
	if b.scheme.Method == arch.AWQ {
		elements = map[int]DType{4: AWQ4}
	}
	if !b.pack(elements, arch.GPTQ, arch.AWQ) {
		return
	}
	t, e := b.t, &b.t.Encoding
	out, in := t.matrix()
	f := types[e.Element]
	n := f.perWord()
	groups, words := int(blocks(in, e.Columns)), int(blocks(out, n))
	shape := []int{int(blocks(in, n)), out}
	if f.word == awqOrder {
		shape = []int{in, words}
	}
	e.Zeros = ZerosStored
	if b.scheme.LessOne {
		e.Zeros = ZerosLessOne
	}
	if raw, ok := b.typed(t.Name, int32s, shape...); ok {
		t.Data = raw.data
	}
	if raw, ok := b.typed(b.sibling("qzeros"), int32s, groups, words); ok {
		t.Zeros = raw.data
		b.convention(raw.data[:4*words], f.bits)
	}
	b.scales(b.sibling("scales"), plainTypes, groups, out)
	if b.scheme.Method == arch.GPTQ {
		b.groups(b.sibling("g_idx"), in, groups)
	}
}

// convention refuses symmetric weights whose first zero points are the middle of
// the other of GPTQ's ways to store them.
func (b *binding) convention(line []byte, bits int) {
	if !b.scheme.Symmetric {
		return
	}
	middle := uint32(1) << (bits - 1)
	want, other, says, is := middle, middle-1, "gptq_v2", "gptq"
	if b.scheme.LessOne {
		want, other, says, is = other, want, is, says
	}
	repeated := other * (1<<bits + 1) // in a byte, of 4 bits
	if bits == 8 {
		repeated = other
	}
	if !slices.ContainsFunc(line, func(v byte) bool { return uint32(v) != repeated }) {
		b.faults.Addf("%s: tensor %q has zero points of %d, want %d of symmetric weights in checkpoint_format %q: they are those of %q",
			b.t.File, b.sibling("qzeros"), other, want, says, is)
	}
}

// groups finds which group each input is of. What says no more than that groups
// lie one behind the other is left out.
func (b *binding) groups(name string, in, groups int) {
	if !b.scheme.Reordered && !b.present(name) {
		return
	}
	raw, ok := b.typed(name, int32s, in)
	if !ok {
		return
	}
	inOrder := true
	for c := range in {
		g := binary.LittleEndian.Uint32(raw.data[4*c:])
		if g >= uint32(groups) {
			b.faults.Addf("%s: tensor %q: input %d is of group %d, there are %d%s", b.fileOf(name), name, c, int32(g), groups, b.why())
			return
		}
		inOrder = inOrder && (b.t.Encoding.Columns == 0 || int(g) == c/b.t.Encoding.Columns)
	}
	if !inOrder {
		b.t.Groups = raw.data
	}
}

// packQuantized finds the pieces of compressed-tensors' matrices.
func (b *binding) packQuantized() {
	if !b.pack(map[int]DType{4: Packed4, 8: Packed8}, arch.PackQuantized) {
		return
	}
	t, e := b.t, &b.t.Encoding
	out, in := t.matrix()
	n := types[e.Element].perWord()
	groups := int(blocks(in, e.Columns))
	if raw, ok := b.typed(t.Name, int32s, out, int(blocks(in, n))); ok {
		t.Data = raw.data
	}
	b.shape(b.sibling("weight_shape"))
	b.scales(b.sibling("weight_scale"), plainTypes, out, groups)
	zeros := b.sibling("weight_zero_point")
	if !b.scheme.Symmetric || b.present(zeros) {
		e.Zeros = ZerosStored
		if raw, ok := b.typed(zeros, int32s, int(blocks(out, n)), groups); ok {
			t.Zeros = raw.data
		}
	}
	b.groups(b.sibling("weight_g_idx"), in, groups)
}

// shape holds what the files say of a matrix's shape against the program's.
func (b *binding) shape(name string) {
	raw, ok := b.typed(name, []string{"I64", "I32"}, len(b.t.Shape))
	if !ok {
		return
	}
	size := elementBytes[raw.dtype]
	var says []int
	for i := range b.t.Shape {
		var v [8]byte
		copy(v[:], raw.data[i*int(size):][:size])
		says = append(says, int(binary.LittleEndian.Uint64(v[:])))
	}
	if !slices.Equal(says, b.t.Shape) {
		b.faults.Addf("%s: tensor %q says %v, want %v", b.fileOf(name), name, says, b.t.Shape)
	}
}

// mxfp4 finds the pieces of matrices in MXFP4: of 32 inputs 16 bytes and a power
// of two.
func (b *binding) mxfp4() {
	t, shape := b.t, b.t.Shape
	last := len(shape) - 1
	if b.scheme.Method != arch.MXFP4 || last < 1 || shape[last]%32 != 0 {
		b.faults.Addf("%s: tensor %q stands for weights of shape %v, but quantization_config says of them %q, and MXFP4 has 32 inputs a block",
			t.File, t.Name, shape, b.scheme.Method)
		return
	}
	t.Encoding = Encoding{Element: MXFP4, Scale: Exponent8, Rows: 1, Columns: b.scheme.Group}
	by := append(slices.Clone(shape[:last]), shape[last]/32)
	if raw, ok := b.typed(t.Name, bytesTypes, append(slices.Clone(by), 16)...); ok {
		t.Data = raw.data
	}
	if raw, ok := b.typed(b.name+"_scales", bytesTypes, by...); ok {
		t.Scales = raw.data
	}
}
