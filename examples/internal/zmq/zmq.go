// Package zmq joins the flags -host and -port of the exercises with the
// endpoints of package mq.
package zmq

import (
	"context"
	"net"
	"strings"
	"unicode"

	"github.com/zocalo-go/zocalo/examples/internal/cli"
	"github.com/zocalo-go/zocalo/mq"
)

// Bind binds socket to the address of the flags and prints "listening on ADDR".
func Bind(ctx context.Context, env *cli.Env, socket *mq.Socket, addr *cli.Addr) error {
	endpoint, err := socket.Bind(ctx, "tcp://"+addr.String())
	if err != nil {
		return err
	}
	bound, err := net.ResolveTCPAddr("tcp", strings.TrimPrefix(endpoint, "tcp://"))
	if err != nil {
		return err
	}
	return env.Listening(bound)
}

// Connect connects socket to the address of the flags and returns the endpoint.
// It does not wait for anybody to be there.
func Connect(socket *mq.Socket, addr *cli.Addr) (endpoint string, err error) {
	target, err := addr.Target()
	if err != nil {
		return "", err
	}
	endpoint = "tcp://" + target
	return endpoint, socket.Connect(endpoint)
}

// Printable is a frame as text without control characters, which could command
// the reader's terminal.
func Printable(frame []byte) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return '·'
		}
		return r
	}, string(frame))
}
