package main

import (
	"fmt"
	"maps"
	"reflect"
	"slices"

	"github.com/openai/openai-go/v3/packages/respjson"
)

// beside are members that are sent beside what the client knows.
var beside = []string{"reasoning", "reasoning_content", "stop_reason", "store", "name"}

// strict reports what a value that came lacks of its type, or has beside it.
func strict(v any) error { return held(reflect.ValueOf(v).Elem(), "") }

// held goes through structs as the client makes them: each has what became of its
// fields in one that is called JSON.
func held(v reflect.Value, at string) error {
	switch v.Kind() {
	case reflect.Slice:
		for i := range v.Len() {
			if err := held(v.Index(i), fmt.Sprintf("%s[%d]", at, i)); err != nil {
				return err
			}
		}
	case reflect.Struct:
		if one, is := variant(v); is {
			return held(one, at)
		}
		return fields(v, at)
	}
	return nil
}

// variant is what a union is: of these types none or one has a method AsAny.
func variant(v reflect.Value) (reflect.Value, bool) {
	as := v.MethodByName("AsAny")
	if !as.IsValid() && v.CanAddr() {
		as = v.Addr().MethodByName("AsAny")
	}
	if !as.IsValid() {
		return v, false
	}
	one := as.Call(nil)[0]
	if one.IsNil() {
		return v, false
	}
	return one.Elem(), true
}

func fields(v reflect.Value, at string) error {
	came := v.FieldByName("JSON")
	if !came.IsValid() || came.Kind() != reflect.Struct {
		return nil
	}
	at += "(" + v.Type().Name() + ")"
	if extra := came.FieldByName("ExtraFields"); extra.IsValid() {
		names := slices.Sorted(maps.Keys(extra.Interface().(map[string]respjson.Field)))
		if names = slices.DeleteFunc(names, func(name string) bool { return slices.Contains(beside, name) }); len(names) > 0 {
			return fmt.Errorf("%s has %q", at, names)
		}
	}
	for i := range v.NumField() {
		field := v.Type().Field(i)
		status := came.FieldByName(field.Name)
		if !status.IsValid() {
			continue
		}
		f, is := status.Interface().(respjson.Field)
		switch raw := f.Raw(); {
		case !is:
			continue
		case raw == "" && field.Tag.Get("api") == "required":
			return fmt.Errorf("%s lacks %s", at, field.Tag.Get("json"))
		case raw == "" || raw == "null":
			continue
		case !f.Valid():
			return fmt.Errorf("%s.%s is %s", at, field.Tag.Get("json"), raw)
		}
		if err := held(v.Field(i), at+"."+field.Name); err != nil {
			return err
		}
	}
	return nil
}
