package reply

import (
	"encoding/json"
	"strings"
)

// Types are kinds of JSON values, a set; 0 is any.
type Types uint8

// The types.
const (
	String Types = 1 << iota
	Number
	Boolean
	Null
	List
	Mapping
)

// Tool is one that may be called.
type Tool struct {
	Name string
	// Types are what its parameters may be, of those whose types are known.
	// Where strings are written without quotes they tell "1" from 1.
	Types map[string]Types
}

// typeOf is the type of a JSON value.
func typeOf(v []byte) Types {
	switch v[0] {
	case '"':
		return String
	case 't', 'f':
		return Boolean
	case 'n':
		return Null
	case '[':
		return List
	case '{':
		return Mapping
	}
	return Number
}

var typeNames = map[string]Types{
	"string": String, "number": Number, "integer": Number, "boolean": Boolean, "null": Null, "array": List, "object": Mapping,
}

// ParameterTypes are the types of the properties of a JSON schema, as far as it
// says them plainly.
func ParameterTypes(schema []byte) map[string]Types {
	var s struct {
		Properties map[string]json.RawMessage
	}
	if json.Unmarshal(schema, &s) != nil || len(s.Properties) == 0 {
		return nil
	}
	all := make(map[string]Types, len(s.Properties))
	for name, p := range s.Properties {
		if t := schemaTypes(p, schema, 0); t != 0 {
			all[name] = t
		}
	}
	return all
}

// schemaTypes are the types that a schema within root allows; 0 is any.
func schemaTypes(schema, root []byte, depth int) (t Types) {
	var s struct {
		Type         any
		Enum         []json.RawMessage
		Const        json.RawMessage
		AnyOf, OneOf []json.RawMessage
		Ref          string `json:"$ref"`
	}
	if depth > 8 || json.Unmarshal(schema, &s) != nil {
		return 0
	}
	switch v := s.Type.(type) {
	case string:
		return typeNames[v]
	case []any:
		for _, name := range v {
			name, _ := name.(string)
			t |= typeNames[name]
		}
		return t
	}
	switch {
	case s.Const != nil:
		return typeOf(s.Const)
	case s.Enum != nil:
		for _, v := range s.Enum {
			t |= typeOf(v)
		}
	case s.Ref != "":
		if target := resolve(s.Ref, root); target != nil {
			t = schemaTypes(target, root, depth+1)
		}
	default:
		for _, one := range append(s.AnyOf, s.OneOf...) {
			of := schemaTypes(one, root, depth+1)
			if of == 0 {
				return 0
			}
			t |= of
		}
	}
	return t
}

// resolve is what a reference within a schema refers to; nil: nothing.
func resolve(ref string, root []byte) []byte {
	path, ok := strings.CutPrefix(ref, "#/")
	for name := range strings.SplitSeq(path, "/") {
		var members map[string]json.RawMessage
		if !ok || json.Unmarshal(root, &members) != nil {
			return nil
		}
		name = strings.NewReplacer("~1", "/", "~0", "~").Replace(name)
		if root, ok = members[name]; !ok {
			return nil
		}
	}
	return root
}
