package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
)

// readTable reads the table of this machine's TCP sockets. It is text: `cat
// /proc/net/tcp` shows the same.
func readTable(context.Context) ([]row, error) {
	var all []row
	for i, name := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		f, err := os.Open(name)
		if errors.Is(err, fs.ErrNotExist) && i > 0 {
			continue // a machine without IPv6
		}
		if err != nil {
			return nil, err
		}
		rows, err := parseProc(f)
		f.Close()
		if err != nil {
			return nil, err
		}
		all = append(all, rows...)
	}
	return all, nil
}
