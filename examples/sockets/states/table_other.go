//go:build !linux

package main

import (
	"bytes"
	"context"
	"os/exec"
	"time"
)

// readTable asks netstat for this machine's TCP sockets.
func readTable(ctx context.Context) ([]row, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, "netstat", "-an").Output()
	if err != nil {
		return nil, err
	}
	return parseNetstat(bytes.NewReader(out))
}
