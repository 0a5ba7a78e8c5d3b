package model

import (
	"errors"
	"io/fs"

	"github.com/troupe-llm/troupe/gpu/model/builtin"
)

// embedded returns the embedded model's files; nil in a build without one.
var embedded = builtin.FS

func builtinFiles() (fs.FS, error) {
	if embedded == nil {
		return nil, errors.New("this build has no built-in model: name a directory")
	}
	return embedded(), nil
}
