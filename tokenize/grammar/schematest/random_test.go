package schematest

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
)

type object = map[string]any

// writer makes up schemas.
type writer struct {
	rng  *rand.Rand
	defs object
}

// newSchema makes up a schema.
func newSchema(rng *rand.Rand) string {
	w := &writer{rng: rng, defs: object{}}
	root := w.schema(3)
	if o, ok := root.(object); ok && len(w.defs) > 0 {
		o["$defs"] = w.defs
	} else if len(w.defs) > 0 {
		root = object{"allOf": []any{root}, "$defs": w.defs}
	}
	b, err := json.Marshal(root)
	if err != nil {
		panic(err)
	}
	return string(b)
}

func (w *writer) chance(n int) bool { return w.rng.IntN(n) == 0 }

func pick[T any](w *writer, of ...T) T { return of[w.rng.IntN(len(of))] }

// denied is a schema to be the opposite of: anything but formats and
// uniqueItems, whose opposites cannot be said, more often something small.
func (w *writer) denied(depth int) any {
	switch w.rng.IntN(12) {
	case 0:
		return object{"type": pick[any](w, "string", "object", "null", "integer", []string{"number", "array"})}
	case 1:
		return object{"const": pick[any](w, "x", "a", nil, true, 3, []any{}, object{"a": "x"})}
	case 2:
		return object{"enum": []any{"a", "red", "b", nil, 2, []any{1}, object{"a": nil}}}
	case 3:
		return object{pick(w, "minimum", "maximum", "exclusiveMinimum"): w.bound()}
	case 4:
		return object{pick(w, "minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties"): w.rng.IntN(4)}
	case 5:
		return object{"required": []string{pick(w, names...)}}
	case 6:
		return object{"pattern": pick(w, patterns...)}
	}
	if depth == 0 {
		return true
	}
	switch w.rng.IntN(8) {
	case 0:
		return object{pick(w, "anyOf", "allOf", "oneOf"): []any{w.denied(depth - 1), w.denied(depth - 1)}}
	case 1:
		return object{"not": w.denied(depth - 1)}
	case 2:
		return object{"items": w.denied(depth - 1)}
	case 3:
		return object{"contains": w.denied(depth - 1), "minContains": w.rng.IntN(3), "maxContains": 2 + w.rng.IntN(2)}
	case 4:
		return object{pick(w, "additionalProperties", "propertyNames"): w.denied(depth - 1), "properties": object{pick(w, names...): w.denied(depth - 1)}}
	case 5:
		return object{"patternProperties": object{pick(w, patterns...): w.denied(depth - 1)}}
	}
	return object{"properties": object{pick(w, names...): w.denied(depth - 1), pick(w, names...): w.denied(depth - 1)}}
}

func (w *writer) schema(depth int) any {
	if depth <= 0 {
		return w.scalar()
	}
	switch w.rng.IntN(18) {
	case 0:
		return pick[any](w, true, object{}, object{"title": "anything"})
	case 1, 2, 3, 4, 5:
		return w.object(depth)
	case 6, 7, 8:
		return w.array(depth)
	case 9:
		return object{"anyOf": w.some(depth, 1, 3)}
	case 10:
		return w.allOf(depth)
	case 11:
		return w.oneOf(depth)
	case 12:
		return w.ref(depth)
	case 14:
		s := w.schema(depth - 1)
		if o, ok := s.(object); ok && o["not"] == nil && o["if"] == nil {
			if w.chance(2) {
				o["not"] = w.denied(2)
			} else {
				o["if"], o["then"], o["else"] = w.denied(2), w.schema(depth-1), w.schema(depth-1)
			}
		}
		return s
	case 15:
		return object{"oneOf": []any{w.denied(2), w.denied(2), w.object(depth - 1)}[w.rng.IntN(2):]}
	case 13:
		s := w.object(depth)
		s["anyOf"] = []any{object{"required": []string{pick(w, names...)}}, w.object(depth - 1)}
		return s
	}
	return w.scalar()
}

func (w *writer) some(depth, low, high int) []any {
	all := []any{}
	for range low + w.rng.IntN(high-low+1) {
		all = append(all, w.schema(depth-1))
	}
	return all
}

var names = []string{"a", "b", "ab", "name", "na", "é", `q"`, "x y", "tab\t", ""}

func (w *writer) object(depth int) object {
	s := object{"type": "object"}
	props := object{}
	var chosen []string
	for range w.rng.IntN(4) {
		name := pick(w, names...)
		chosen = append(chosen, name)
		props[name] = w.schema(depth - 1)
	}
	if len(chosen) > 0 || w.chance(3) {
		s["properties"] = props
	}
	required := []string{}
	for _, name := range chosen {
		if w.chance(2) && !slices.Contains(required, name) {
			required = append(required, name)
		}
	}
	if w.chance(8) && !slices.Contains(required, "b") {
		required = append(required, "b")
	}
	if len(required) > 0 {
		s["required"] = required
	}
	switch w.rng.IntN(5) {
	case 0:
		s["additionalProperties"] = w.schema(depth - 1)
	case 1, 2:
		s["additionalProperties"] = w.chance(2)
	}
	if w.chance(8) {
		s["patternProperties"] = object{pick(w, "^x_", "^[a-c]+$", "n"): w.schema(depth - 1), pick(w, "b$", "^.{2}$"): w.schema(depth - 1)}
	}
	if w.chance(10) {
		s["propertyNames"] = pick[any](w, object{"maxLength": 3}, object{"pattern": "^[a-z]+$"}, object{"enum": []string{"a", "b", "zz"}})
	}
	if w.chance(8) {
		s["minProperties"] = w.rng.IntN(3)
	}
	if w.chance(8) {
		s["maxProperties"] = w.rng.IntN(5)
	}
	if w.chance(12) {
		s["unevaluatedProperties"] = false
	}
	if w.chance(12) {
		s["dependentRequired"] = object{pick(w, names...): []string{pick(w, names...)}}
	}
	if w.chance(12) {
		s["dependentSchemas"] = object{pick(w, names...): w.object(depth - 1)}
	}
	return s
}

func (w *writer) array(depth int) object {
	s := object{"type": "array"}
	if !w.chance(4) {
		s["items"] = w.schema(depth - 1)
	}
	if w.chance(3) {
		s["prefixItems"] = w.some(depth, 1, 3)
	}
	if w.chance(2) {
		s["minItems"] = w.rng.IntN(4)
	}
	if w.chance(2) {
		s["maxItems"] = w.rng.IntN(6)
	}
	if w.chance(5) {
		s["contains"] = w.schema(depth - 1)
		s["minContains"] = w.rng.IntN(3)
		if w.chance(3) {
			s["contains"], s["maxContains"] = w.denied(2), 1+w.rng.IntN(3)
		}
	}
	if w.chance(12) {
		s["uniqueItems"] = true
		delete(s, "prefixItems")
		delete(s, "contains")
		s["items"] = object{"enum": []any{"a", "b", 1, nil, []any{}, 2, 3, 4, 5, 6, "c"}[w.rng.IntN(8):]}
		if w.chance(2) {
			s["items"] = w.str()
		}
	}
	return s
}

// allOf are schemas that may have a value in common.
func (w *writer) allOf(depth int) object {
	switch w.rng.IntN(4) {
	case 0:
		return object{"allOf": []any{w.number(), w.number()}}
	case 1:
		return object{"allOf": []any{w.str(), w.str()}}
	case 2:
		return object{"allOf": []any{w.array(depth), w.array(depth)}}
	}
	s := w.object(depth)
	s["allOf"] = []any{w.object(depth), object{"anyOf": w.some(depth, 1, 2)}}
	return s
}

// oneOf are schemas that may be told apart.
func (w *writer) oneOf(depth int) object {
	if w.chance(2) {
		return object{"oneOf": []any{w.object(depth), w.array(depth), w.str(), object{"type": "null"}}[:2+w.rng.IntN(3)]}
	}
	var all []any
	for i := range 2 + w.rng.IntN(2) {
		s := w.object(depth)
		p, ok := s["properties"].(object)
		if !ok {
			p = object{}
			s["properties"] = p
		}
		p["kind"] = object{"const": fmt.Sprint("k", i)}
		s["required"] = []string{"kind"}
		delete(s, "propertyNames")
		all = append(all, s)
	}
	return object{"oneOf": all}
}

// ref refers to a definition, which may refer to itself.
func (w *writer) ref(depth int) object {
	name := pick(w, "one", "two", "t~/%wo")
	if w.defs[name] == nil {
		w.defs[name] = object{} // within itself it is known
		w.defs[name] = w.schema(depth - 1)
	}
	pointer := map[string]string{"t~/%wo": "t~0~1%25wo"}[name]
	if pointer == "" {
		pointer = name
	}
	s := object{"$ref": "#/$defs/" + pointer}
	if w.chance(3) {
		return object{"type": "object", "properties": object{"next": s, "value": w.scalar()}}
	}
	return s
}

func (w *writer) scalar() any {
	switch w.rng.IntN(8) {
	case 0, 1, 2:
		return w.str()
	case 3, 4:
		return w.number()
	case 5:
		s := object{"enum": []any{"red", 1, nil, 2.5, "a\nb", []any{1, "x"}, object{"k": []any{}}, "é\"", "red wine"}[w.rng.IntN(4) : 4+w.rng.IntN(6)]}
		if w.chance(3) {
			s["type"] = pick[any](w, "string", []string{"integer", "null", "string"})
		} else if w.chance(3) {
			s["not"], s["maxLength"], s["minItems"], s["required"] = w.denied(2), 4, 1, []string{"k"}
		}
		return s
	case 6:
		return object{"const": pick[any](w, "x", 7, 0.5, true, nil, []any{}, object{"a": object{"b": "c"}})}
	}
	return object{"type": pick[any](w, "boolean", "null", []string{"string", "null"}, []string{"integer", "boolean"}, []string{"array", "object"})}
}

var (
	patterns = []string{"^[a-z]{2,4}$", "^a", "z$", "b+", `^\d{3}-\d{4}$`, `^(foo|bar)\s*"?$`, `[^\n]{2}`, `^é*.?$`, `^[\w.]+@[a-z]+$`, "", `\\`}
	formats  = []string{"date", "time", "date-time", "duration", "email", "hostname", "ipv4", "ipv6", "uuid", "uri", "regex"}
)

func (w *writer) str() object {
	s := object{"type": "string"}
	if w.chance(3) {
		s["minLength"] = w.rng.IntN(5)
	}
	if w.chance(3) {
		s["maxLength"] = w.rng.IntN(40)
	}
	switch w.rng.IntN(5) {
	case 0:
		s["pattern"] = pick(w, patterns...)
	case 1:
		s["format"] = pick(w, formats...)
	}
	return s
}

func (w *writer) number() object {
	s := object{"type": pick(w, "integer", "number")}
	low := w.bound()
	if w.chance(2) {
		s[pick(w, "minimum", "exclusiveMinimum")] = low
	}
	if w.chance(2) {
		x := low + float64(w.rng.IntN(40))/pick[float64](w, 1, 4, 0.01, 1e-9)
		s[pick(w, "maximum", "exclusiveMaximum")] = x
	}
	if w.chance(5) {
		s["multipleOf"] = pick[float64](w, 1, 2, 3, 7, 10, 250, 0.1, 0.01, 0.5)
	}
	return s
}

func (w *writer) bound() float64 {
	x := float64(w.rng.IntN(2000)-1000) / pick[float64](w, 1, 1, 8, 100, 1e-6, 1e6)
	if w.chance(3) {
		return float64(w.rng.IntN(3) - 1)
	}
	return x
}
