package model

import (
	"cmp"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"math/bits"
	"slices"

	"github.com/troupe-llm/troupe/gpu/internal/jsonfile"
)

// A safetensors file is: the header's length (8 bytes, little endian), the
// header (JSON: tensor name → dtype, shape, [begin, end) in the data), the
// data. See huggingface.co/docs/safetensors.

// maxHeader is the format's own limit.
const maxHeader = 100 << 20

// rawTensor is an entry of the header, checked against the file.
type rawTensor struct {
	dtype string // as in the file: "BF16", …
	shape []int
	data  []byte
}

// dtypes are the element types that devices read, by their names in files.
var dtypes = func() map[string]DType {
	byName := map[string]DType{}
	for d, t := range types {
		if t.file != "" {
			byName[t.file] = d
		}
	}
	return byName
}()

// elementBytes of every type whose elements are whole bytes; entries of other
// types pass unchecked, since no weight of ours may have one.
var elementBytes = map[string]uint64{
	"BOOL": 1, "U8": 1, "I8": 1, "F8_E4M3": 1, "F8_E5M2": 1, "F8_E8M0": 1,
	"U16": 2, "I16": 2, "F16": 2, "BF16": 2, "U32": 4, "I32": 4, "F32": 4, "U64": 8, "I64": 8, "F64": 8, "C64": 8,
}

// parseSafetensors checks a file's header and returns views of its tensors by
// name. It reads no data.
func parseSafetensors(file []byte, where string) (map[string]rawTensor, error) {
	f := &jsonfile.Faults{Where: where}
	tensors := scanSafetensors(file, f)
	if err := f.Err(); err != nil {
		return nil, err
	}
	return tensors, nil
}

func scanSafetensors(file []byte, f *jsonfile.Faults) map[string]rawTensor {
	if len(file) < 8 {
		f.Addf("truncated: %d bytes, want at least the 8 of the header's length", len(file))
		return nil
	}
	size := binary.LittleEndian.Uint64(file)
	switch {
	case size > maxHeader:
		f.Addf("no safetensors file: its header would be %d bytes, at most %d are allowed", size, maxHeader)
		return nil
	case size > uint64(len(file)-8):
		f.Addf("truncated: the header is %d bytes, %d are there", size, len(file)-8)
		return nil
	}
	var raw map[string]json.RawMessage
	if err := jsonfile.Decode(file[8:8+size], &raw); err != nil {
		f.Addf("header: %v", err)
		return nil
	}
	delete(raw, "__metadata__") // strings for people
	header := make(map[string]headerEntry, len(raw))
	data := file[8+size:]
	tensors := make(map[string]rawTensor, len(raw))
	var end uint64
	for _, name := range slices.Sorted(maps.Keys(raw)) {
		var e headerEntry
		if err := jsonfile.Decode(raw[name], &e); err != nil {
			f.Addf("tensor %q: %v", name, err)
			continue
		}
		if fault := e.check(); fault != "" {
			f.Addf("tensor %q: %s", name, fault)
			continue
		}
		header[name] = e
		end = max(end, e.Offsets[1])
		if e.Offsets[1] <= uint64(len(data)) {
			tensors[name] = rawTensor{e.DType, e.Shape, data[e.Offsets[0]:e.Offsets[1]:e.Offsets[1]]}
		}
	}
	if end > uint64(len(data)) {
		f.Addf("truncated: tensors take %d bytes after the header, %d are there", end, len(data))
	}
	checkOverlaps(header, f)
	return tensors
}

// headerEntry is one tensor in the header.
type headerEntry struct {
	DType   string   `json:"dtype"`
	Shape   []int    `json:"shape"`
	Offsets []uint64 `json:"data_offsets"`
}

// check returns what is wrong with the entry by itself.
func (e *headerEntry) check() string {
	if len(e.Offsets) != 2 || e.Offsets[0] > e.Offsets[1] {
		return fmt.Sprintf("data_offsets are %v, want [begin, end]", e.Offsets)
	}
	if e.Offsets[1] > math.MaxInt64 {
		return fmt.Sprintf("data_offsets are %v: beyond any file", e.Offsets)
	}
	size, known := elementBytes[e.DType]
	for _, d := range e.Shape {
		if d < 0 {
			return fmt.Sprintf("shape %v has a negative size", e.Shape)
		}
		var over uint64
		if over, size = bits.Mul64(size, uint64(d)); over != 0 {
			return fmt.Sprintf("shape %v is beyond any file", e.Shape)
		}
	}
	if has := e.Offsets[1] - e.Offsets[0]; known && has != size {
		return fmt.Sprintf("%s of shape %v takes %d bytes, data_offsets give it %d", e.DType, e.Shape, size, has)
	}
	return ""
}

// checkOverlaps reports tensors that share bytes; each entry is sound by itself.
func checkOverlaps(header map[string]headerEntry, f *jsonfile.Faults) {
	names := make([]string, 0, len(header))
	for name, e := range header {
		if e.Offsets[0] < e.Offsets[1] {
			names = append(names, name)
		}
	}
	slices.SortFunc(names, func(a, b string) int {
		return cmp.Or(cmp.Compare(header[a].Offsets[0], header[b].Offsets[0]), cmp.Compare(a, b))
	})
	for i := 1; i < len(names); i++ {
		a, b := names[i-1], names[i]
		if header[a].Offsets[1] > header[b].Offsets[0] {
			f.Addf("tensors %q and %q overlap: data_offsets %v and %v", a, b, header[a].Offsets, header[b].Offsets)
		}
	}
}
