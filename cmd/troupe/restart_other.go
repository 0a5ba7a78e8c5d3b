//go:build !unix

package main

import (
	"errors"
	"net"
	"os"
)

// A process cannot become another here: the server ends.

func inherited() (net.Listener, int, error) { return nil, 0, nil }

func legacy(net.Listener) (*os.File, error) {
	return nil, errors.New("a server restarts itself on Unix alone")
}

func restart(*os.File, int) error { return errors.New("a server restarts itself on Unix alone") }
