package wire

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/troupe-llm/troupe/gpu/batch"
	"github.com/troupe-llm/troupe/tokenize/grammar"
)

// specs are what a request's grammar may be.
var specs = []*grammar.Spec{
	nil, grammar.Regex("a+").At("regex"), grammar.JSONObject(),
	grammar.Sequence(grammar.Literal("é"), grammar.Choice(grammar.Repeat(grammar.AnyText(), 1, -1), grammar.UntilFirst([]string{"x", "y"}, 1)).At("b")),
}

// fill sets all of a message's fields at random, some to nothing.
func fill(rnd *rand.Rand, v reflect.Value) {
	if v.Type() == reflect.TypeFor[*grammar.Spec]() {
		v.Set(reflect.ValueOf(specs[rnd.IntN(len(specs))]))
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			fill(rnd, v.Field(i))
		}
	case reflect.Pointer:
		if rnd.IntN(2) == 0 {
			v.Set(reflect.New(v.Type().Elem()))
			fill(rnd, v.Elem())
		}
	case reflect.Slice:
		if n := rnd.IntN(4); n > 0 {
			v.Set(reflect.MakeSlice(v.Type(), n, n))
			for i := range n {
				fill(rnd, v.Index(i))
			}
		}
	case reflect.Bool:
		v.SetBool(rnd.IntN(2) == 0)
	case reflect.String:
		v.SetString([]string{"", "a", "größer"}[rnd.IntN(3)])
	case reflect.Float32:
		v.SetFloat(float64(float32(rnd.NormFloat64())))
	case reflect.Int, reflect.Int32, reflect.Int64:
		v.SetInt([]int64{0, -1, 7, 1<<31 - 1, -1 << 31}[rnd.IntN(5)])
	case reflect.Uint8:
		v.SetUint(uint64(rnd.IntN(5)))
	default:
		v.SetUint(uint64(rnd.Uint32()))
	}
}

// kinds are the messages: how one is made, encoded and read again.
var kinds = map[string]struct {
	fresh  func() any
	encode func(any) []byte
	decode func([]byte) (any, error)
}{
	"Request":  {func() any { return new(Request) }, func(m any) []byte { return m.(*Request).Encode() }, func(b []byte) (any, error) { return DecodeRequest(b) }},
	"Batch":    {func() any { return new(Batch) }, func(m any) []byte { return m.(*Batch).Encode() }, func(b []byte) (any, error) { return DecodeBatch(b) }},
	"Prefixes": {func() any { return new(Prefixes) }, func(m any) []byte { return m.(*Prefixes).Encode() }, func(b []byte) (any, error) { return DecodePrefixes(b) }},
	"Frame":    {func() any { return new(Frame) }, func(m any) []byte { return m.(*Frame).Encode() }, func(b []byte) (any, error) { return DecodeFrame(b) }},
	"Identity": {func() any { return new(Identity) }, func(m any) []byte { return m.(*Identity).Encode() }, func(b []byte) (any, error) { return DecodeIdentity(b) }},
	"Ref": {func() any { return new(Ref) }, func(m any) []byte { return m.(*Ref).Encode() }, func(b []byte) (any, error) {
		r, err := DecodeRef(b)
		return &r, err
	}},
}

// What is encoded is read as the same, and is what wire.proto says.
func TestProto(t *testing.T) {
	file := described(t)
	for name, kind := range kinds {
		rnd := rand.New(rand.NewPCG(1, uint64(len(name))))
		seen := map[protoreflect.FullName]bool{}
		for range 300 {
			m := kind.fresh()
			fill(rnd, reflect.ValueOf(m).Elem())
			b := kind.encode(m)
			again, err := kind.decode(b)
			if err != nil || !reflect.DeepEqual(again, m) {
				t.Fatalf("%s: %+v became %+v, %v", name, m, again, err)
			}
			d := dynamicpb.NewMessage(file.Messages().ByName(protoreflect.Name(name)))
			if err := proto.Unmarshal(b, d); err != nil {
				t.Fatalf("%s: protobuf reads %+v with %v", name, m, err)
			}
			known(t, d, seen)
			back, err := proto.MarshalOptions{Deterministic: true}.Marshal(d)
			if err != nil {
				t.Fatal(err)
			}
			if again, err = kind.decode(back); err != nil || !reflect.DeepEqual(again, m) {
				t.Fatalf("%s: protobuf makes %+v of %+v, %v", name, again, m, err)
			}
		}
		fields := file.Messages().ByName(protoreflect.Name(name)).Fields()
		for i := range fields.Len() {
			if !seen[fields.Get(i).FullName()] {
				t.Errorf("nothing sets %s", fields.Get(i).FullName())
			}
		}
	}
}

// known complains of fields that wire.proto does not have, and notes those there are.
func known(t *testing.T, m protoreflect.Message, seen map[protoreflect.FullName]bool) {
	t.Helper()
	if len(m.GetUnknown()) > 0 {
		t.Fatalf("%s has fields that wire.proto lacks: %x", m.Descriptor().Name(), m.GetUnknown())
	}
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		seen[f.FullName()] = true
		switch {
		case f.IsList() && f.Message() != nil:
			for i := range v.List().Len() {
				known(t, v.List().Get(i).Message(), seen)
			}
		case f.Message() != nil:
			known(t, v.Message(), seen)
		}
		return true
	})
}

// described reads wire.proto, whose messages are flat.
func described(t *testing.T) protoreflect.FileDescriptor {
	t.Helper()
	text, err := os.ReadFile("wire.proto")
	if err != nil {
		t.Fatal(err)
	}
	types := map[string]descriptorpb.FieldDescriptorProto_Type{
		"bool": descriptorpb.FieldDescriptorProto_TYPE_BOOL, "string": descriptorpb.FieldDescriptorProto_TYPE_STRING, "float": descriptorpb.FieldDescriptorProto_TYPE_FLOAT,
		"int32": descriptorpb.FieldDescriptorProto_TYPE_INT32, "int64": descriptorpb.FieldDescriptorProto_TYPE_INT64, "fixed32": descriptorpb.FieldDescriptorProto_TYPE_FIXED32, "fixed64": descriptorpb.FieldDescriptorProto_TYPE_FIXED64,
		"uint32": descriptorpb.FieldDescriptorProto_TYPE_UINT32, "uint64": descriptorpb.FieldDescriptorProto_TYPE_UINT64,
	}
	file := &descriptorpb.FileDescriptorProto{Name: proto.String("wire.proto"), Package: proto.String("troupe.wire"), Syntax: proto.String("proto3")}
	field := regexp.MustCompile(`^  (repeated )?(\w+) (\w+) = (\d+);$`)
	var m *descriptorpb.DescriptorProto
	for _, line := range strings.Split(string(text), "\n") {
		if name, ok := strings.CutPrefix(line, "message "); ok {
			m = &descriptorpb.DescriptorProto{Name: proto.String(strings.TrimSuffix(name, " {"))}
			file.MessageType = append(file.MessageType, m)
		}
		found := field.FindStringSubmatch(line)
		if found == nil {
			continue
		}
		n, _ := strconv.Atoi(found[4])
		f := &descriptorpb.FieldDescriptorProto{Name: proto.String(found[3]), Number: proto.Int32(int32(n)), Label: descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL.Enum()}
		if found[1] != "" {
			f.Label = descriptorpb.FieldDescriptorProto_LABEL_REPEATED.Enum()
		}
		if kind, plain := types[found[2]]; plain {
			f.Type = kind.Enum()
		} else {
			f.Type, f.TypeName = descriptorpb.FieldDescriptorProto_TYPE_MESSAGE.Enum(), proto.String(".troupe.wire."+found[2])
		}
		m.Field = append(m.Field, f)
	}
	described, err := protodesc.NewFile(file, nil)
	if err != nil {
		t.Fatal(err)
	}
	return described
}

// Bytes of any kind are refused with an error or read as something that is encoded and read as the
// same again.
func FuzzDecode(f *testing.F) {
	rnd := rand.New(rand.NewPCG(2, 3))
	for _, kind := range kinds {
		for range 4 {
			m := kind.fresh()
			fill(rnd, reflect.ValueOf(m).Elem())
			f.Add(kind.encode(m))
		}
	}
	f.Add(bytes.Repeat([]byte{0x62, 0x7f}, 60))
	f.Fuzz(func(t *testing.T, b []byte) {
		for name, kind := range kinds {
			m, err := kind.decode(b)
			if err != nil {
				continue
			}
			once := kind.encode(m)
			again, err := kind.decode(once)
			if err != nil || !bytes.Equal(kind.encode(again), once) {
				t.Errorf("%s: %+v became %+v, %v", name, m, again, err)
			}
		}
	})
}

// What is not a message is refused with what is wrong.
func TestRefused(t *testing.T) {
	for want, b := range map[string][]byte{
		"another type":   {0x12, 0x01, 0x00},                                     // an id with a length
		"out of range":   {0x0a, 0x07, 0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01}, // a slot
		"a grammar of":   {0x62, 0x02, 0x08, 'z'},
		"unexpected EOF": {0x08},
	} {
		_, err := DecodeRequest(b)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%x: %v, want %q", b, err, want)
		}
	}
}

// Ends that have not the same are told what is different.
func TestAgree(t *testing.T) {
	a := Identity{Version: 1, Model: "m", Sizes: "2 layers", Weights: "w1", Tokenizer: "t1", Encoding: "bfloat16"}
	for want, b := range map[string]Identity{
		"":                              a,
		"the weights of m: w1 here, w2": {Version: 1, Weights: "w2", Tokenizer: "t1", Encoding: "bfloat16"},
		"the sizes of m: 2 layers here, 3 layers there": {Version: 1, Sizes: "3 layers", Tokenizer: "t1"},
		"the tokenizer of m":                            {Version: 1, Tokenizer: "t2"},
		"int8 there":                                    {Version: 1, Weights: "w1", Encoding: "int8"},
		"of version 1 here and of 2":                    {Version: 2},
		"the encoding of weights, keys ":                {Version: 1, Weights: "w3", Encoding: "x"},
	} {
		if got := fmt.Sprint(a.Agree(&b)); want != "" && !strings.Contains(got, want) || want == "" && got != "<nil>" {
			t.Errorf("%+v: %s, want %q", b, got, want)
		}
	}
	if err := a.Agree(&Identity{Version: 1}); err != nil {
		t.Errorf("who knows nothing: %v", err)
	}
}

// A batch that does not say of each output what it must, or more than there is to be said of, is refused.
func TestBatchRefused(t *testing.T) {
	const one = "\x22\x0c............" // an output
	if b, err := DecodeBatch([]byte(one + "\x2a\x04\x10\x01\x18\x01")); err != nil || len(b.Outputs) != 1 || b.Outputs[0].Reason != Stop || !b.Outputs[0].Accepted {
		t.Fatalf("%+v, %v", b, err)
	}
	for name, c := range map[string]struct{ bytes, want string }{
		"half an output":                {"\x22\x05.....", errOutputs.Error()},
		"more of an output there isn't": {one + "\x2a\x02\x08\x01", errOutput.Error()},
		"more before the outputs":       {"\x2a\x02\x10\x01" + one, errOutput.Error()},
		"a reason out of range":         {one + "\x2a\x03\x10\x80\x02", "out of range"},
		"a log-probability of none":     {one + "\x32\x0d\x0a\x01\x01\x12\x08\x0a\x04....\x12\x00", errLogprobs.Error()},
		"more alternatives than are":    {one + "\x32\x0e\x0a\x01\x00\x12\x09\x0a\x04....\x12\x01\x05", errLogprobs.Error()},
		"fewer alternatives":            {one + "\x32\x17\x0a\x01\x00\x12\x12\x0a\x04....\x12\x01\x00\x1a\x01\x05\x22\x04....", errLogprobs.Error()},
		"one of an output there isn't":  {one + "\x32\x0e\x0a\x01\x01\x12\x09\x0a\x04....\x12\x01\x00", errOutput.Error()},
		"another type":                  {"\x20\x01", errType.Error()},
	} {
		if m, err := DecodeBatch([]byte(c.bytes)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s was read as %+v, %v; want %s", name, m, err, c.want)
		}
	}
}

// Reading a step allocates as often however many tokens it has, with log-probabilities or without.
func TestBatchAllocates(t *testing.T) {
	counts := func(outputs int, logprob *batch.Logprob) float64 {
		m := NewBatch(1, outputs)
		for i := range outputs {
			m.Outputs = append(m.Outputs, Output{Ref: Ref{Slot: uint32(i)}, Token: int32(i), Logprob: logprob})
		}
		b := m.Encode()
		return testing.AllocsPerRun(20, func() {
			if _, err := DecodeBatch(b); err != nil { // not released, so that all of it is counted
				t.Fatal(err)
			}
		})
	}
	if few, many := counts(10, nil), counts(1000, nil); few != many {
		t.Errorf("%v allocations of 10 tokens, %v of 1000", few, many)
	}
	lp := &batch.Logprob{Token: -1, Top: []batch.TokenLogprob{{Token: 1, Logprob: -1}}}
	if few, many := counts(100, lp), counts(1000, lp); many > few+20 { // columns grow by doubling
		t.Errorf("%v allocations of 100 tokens with log-probabilities, %v of 1000", few, many)
	}
}

// BenchmarkBatch is what a token costs to encode and read, in steps of 256.
func BenchmarkBatch(b *testing.B) {
	m := &Batch{Seq: 1 << 20, Computed: 1 << 50}
	for i := range 256 {
		m.Outputs = append(m.Outputs, Output{Ref: Ref{Slot: uint32(i), Epoch: 77}, Token: int32(i * 500)})
	}
	bytes := 0
	for b.Loop() {
		enc := m.Encode()
		out, err := DecodeBatch(enc)
		if err != nil {
			b.Fatal(err)
		}
		out.Release()
		bytes = len(enc)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/256, "ns/token")
	b.ReportMetric(float64(bytes)/256, "bytes/token")
}
