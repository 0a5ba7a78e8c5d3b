// Package builtin holds the small chat model that comes with the program, so
// that it serves and answers before anything has been downloaded. README.md
// is its model card; the Python beside it made it.
package builtin

import (
	"embed"
	"io/fs"
)

//go:embed checkpoint
var files embed.FS

// FS is the checkpoint's directory, as published models have it: config.json,
// generation_config.json, model.safetensors, tokenizer.json,
// tokenizer_config.json and chat_template.jinja.
func FS() fs.FS {
	sub, err := fs.Sub(files, "checkpoint")
	if err != nil {
		panic(err) // the name is a constant, and valid
	}
	return sub
}
