//go:build !unix

package main

import (
	"errors"

	"github.com/zocalo-go/zocalo/examples/internal/cli"
)

func isDaemon() bool { return false }

func daemonize(*cli.Env) error { return errors.New("-d needs a Unix system") }

func detach() error { return nil }
