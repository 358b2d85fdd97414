package main

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/zocalo-go/zocalo/examples/internal/cli"
)

// lesson is what the demo's client says first: each a command, and for those
// that store the value on a second line.
var lesson = []string{
	"set greeting 0 60 6\r\n¡Hola",
	"get greeting nobody",
	"set visits 0 0 1\r\n9",
	"incr visits 1",
	"gets visits",
	"add visits 0 0 1\r\n1",
	"mg visits v t h",
	"mg report N30 v t",
	"mg report v",
	"delete greeting",
	"get greeting",
}

func demo(*flag.FlagSet) cli.Action {
	return func(ctx context.Context, env *cli.Env) error {
		srv, err := env.As("memcached").Start(ctx, "-p", "-1", "-m", "4")
		if err != nil {
			return err
		}
		defer srv.Stop()
		dialer := net.Dialer{Timeout: 5 * time.Second}
		conn, err := dialer.DialContext(ctx, "tcp", srv.Addr)
		if err != nil {
			return err
		}
		defer conn.Close()
		stop := context.AfterFunc(ctx, func() { conn.Close() })
		defer stop()
		c := &talker{conn: conn, answers: bufio.NewReader(conn), out: env.Stdout}
		for _, command := range lesson {
			if err := c.show(command); err != nil {
				return err
			}
		}
		if err := c.fill(env.Stdout); err != nil {
			return err
		}
		return srv.Stop()
	}
}

// A talker is a client that shows what is said.
type talker struct {
	conn    net.Conn
	answers *bufio.Reader
	out     io.Writer
}

// say sends commands and returns the lines of all answers. The command mn is
// answered with MN, always: so we know that the rest is complete.
func (c *talker) say(commands string) ([]string, error) {
	if _, err := io.WriteString(c.conn, commands+"\r\nmn\r\n"); err != nil {
		return nil, err
	}
	var lines []string
	for {
		line, err := c.answers.ReadString('\n')
		if err != nil {
			return nil, err
		}
		line = strings.TrimSuffix(line, "\r\n")
		if line == "MN" {
			return lines, nil
		}
		lines = append(lines, line)
	}
}

func (c *talker) show(command string) error {
	answer, err := c.say(command)
	for line := range strings.SplitSeq(command, "\r\n") {
		fmt.Fprintf(c.out, "  client:  %s\n", line)
	}
	for _, line := range answer {
		fmt.Fprintf(c.out, "  server:      %s\n", line)
	}
	return err
}

// fill stores more than there is room for, while one key is in use.
func (c *talker) fill(out io.Writer) error {
	const items, size = 8000, 1000
	value := strings.Repeat("x", size)
	for i := range items {
		command := fmt.Sprintf("set page:%d 0 0 %d noreply\r\n%s", i, size, value)
		if i%50 == 0 {
			command += "\r\nget visits"
		}
		if _, err := c.say(command); err != nil {
			return err
		}
	}
	fmt.Fprintf(out, "\n%d values of %d bytes have been stored, with memory for half of them:\n", items, size)
	lines, err := c.say("stats")
	if err != nil {
		return err
	}
	for _, line := range lines {
		name := strings.TrimPrefix(line, "STAT ")
		for _, wanted := range []string{"curr_items ", "evictions ", "limit_maxbytes ", "bytes "} {
			if strings.HasPrefix(name, wanted) {
				fmt.Fprintf(out, "  %s\n", line)
			}
		}
	}
	fmt.Fprintln(out, "What was in use is still there, what nobody asked for is gone:")
	if err := c.show("get visits"); err != nil {
		return err
	}
	return c.show("get page:0")
}
