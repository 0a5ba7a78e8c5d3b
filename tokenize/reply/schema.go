package reply

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
)

// property is one of a tool's parameters.
type property struct {
	name     string
	schema   []byte
	types    Types
	required bool
}

// readProperties reads the parameters of a tool, in their order. They are open
// when any others may be given, which is so when none are known.
func readProperties(t *Callable) (all []property, open bool, err error) {
	if t.Schema == nil {
		return nil, true, nil
	}
	var s struct {
		Properties           json.RawMessage
		Required             []string
		AdditionalProperties json.RawMessage
	}
	err = plain(t.Schema, "type", "properties", "required", "additionalProperties")
	if err == nil {
		err = json.Unmarshal(t.Schema, &s)
	}
	if err != nil {
		if t.Loose {
			return nil, true, nil
		}
		return nil, false, err
	}
	if s.Properties == nil && string(s.AdditionalProperties) != "false" {
		return nil, true, nil
	}
	var members []namedJSON
	if s.Properties != nil {
		if members, err = orderedMembers(s.Properties); err != nil {
			return nil, false, err
		}
	}
	for _, m := range members {
		p := property{m.name, m.value, schemaTypes(m.value, t.Schema, 0), slices.Contains(s.Required, m.name)}
		if string(m.value) != "false" {
			all = append(all, p)
		}
	}
	return all, false, nil
}

// within is a property's schema with what it may refer to in the tool's.
func (p *property) within(root []byte) []byte {
	var s map[string]json.RawMessage
	if json.Unmarshal(root, &s) != nil || p.schema[0] != '{' {
		return p.schema
	}
	out := []byte("{")
	for _, name := range []string{"$defs", "definitions"} {
		if defs := s[name]; defs != nil {
			out = append(append(append(out, `"`+name+`":`...), defs...), ',')
		}
	}
	rest := bytes.TrimLeft(p.schema[1:], " \n\t\r")
	if rest[0] == '}' {
		out = bytes.TrimSuffix(out, []byte(","))
	}
	return append(out, rest...)
}

// namedJSON is a member of an object.
type namedJSON struct {
	name  string
	value json.RawMessage
}

// orderedMembers are an object's, in their order.
func orderedMembers(object []byte) (all []namedJSON, err error) {
	d := json.NewDecoder(bytes.NewReader(object))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, errors.New("must be an object")
	}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return nil, err
		}
		m := namedJSON{name: name.(string)} // as keys are
		if err := d.Decode(&m.value); err != nil {
			return nil, err
		}
		all = append(all, m)
	}
	return all, nil
}
