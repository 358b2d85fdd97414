package cli

import (
	"flag"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"
)

// An Addr is the pair of flags -host and -port.
type Addr struct {
	Host string // a name or an address, without brackets
	Port int    // 0 to 65535
}

// AddrFlags declares -host (default 127.0.0.1) and -port (default port, the
// course's where it names one, otherwise 0).
func AddrFlags(fs *flag.FlagSet, port int) *Addr {
	a := &Addr{Host: "127.0.0.1"}
	fs.Var((*hostValue)(&a.Host), "host", "`address` or name of the host")
	a.Port = port
	fs.Var(&number[int]{&a.Port, 0, 65535}, "port", "`port`; 0 lets a server pick a free one")
	return a
}

// String returns "host:port", an IPv6 address in brackets, for net.Listen.
func (a *Addr) String() string { return net.JoinHostPort(a.Host, strconv.Itoa(a.Port)) }

// Target returns "host:port" for net.Dial, or a [UsageError] when no port was
// given: 0 is one only for a server.
func (a *Addr) Target() (string, error) {
	if a.Port == 0 {
		return "", Usagef("-port says which port of %s to connect to; it is missing", a.Host)
	}
	return a.String(), nil
}

type hostValue string

func (h *hostValue) String() string { return string(*h) }

func (h *hostValue) Set(s string) error {
	if inner, ok := strings.CutPrefix(s, "["); ok { // "[::1]", as it stands before a port
		s = strings.TrimSuffix(inner, "]")
	}
	if s == "" {
		return fmt.Errorf("an address or a name is needed; 0.0.0.0 or :: stand for all of this machine's")
	}
	*h = hostValue(s)
	return nil
}

// Given reports whether a flag was set on the command line, be it to its
// default: -text "" sends an empty line, no -text sends those of standard input.
func Given(fs *flag.FlagSet, name string) bool {
	found := false
	fs.Visit(func(f *flag.Flag) { found = found || f.Name == name })
	return found
}

// Numeric are the types of [Number]'s flags.
type Numeric interface {
	int | int64 | float64 | time.Duration
}

// Number declares a flag whose value must lie from lo to hi, both included.
func Number[T Numeric](fs *flag.FlagSet, name string, value, lo, hi T, usage string) *T {
	p := new(T)
	*p = value
	fs.Var(&number[T]{p, lo, hi}, name, usage)
	return p
}

type number[T Numeric] struct {
	p      *T
	lo, hi T
}

func (n *number[T]) String() string {
	if n == nil || n.p == nil {
		return "" // package flag asks a zero value for its text
	}
	return fmt.Sprint(*n.p)
}

func (n *number[T]) Set(s string) error {
	var v T
	var err error
	switch p := any(&v).(type) {
	case *int:
		*p, err = strconv.Atoi(s)
	case *int64:
		*p, err = strconv.ParseInt(s, 10, 64)
	case *float64:
		*p, err = strconv.ParseFloat(s, 64)
	case *time.Duration:
		*p, err = time.ParseDuration(s)
		if err != nil {
			return fmt.Errorf("want a time such as 1.5s or 200ms")
		}
	}
	if err != nil || !(v >= n.lo && v <= n.hi) { // not a number (NaN) fails both
		return fmt.Errorf("want a number from %v to %v", n.lo, n.hi)
	}
	*n.p = v
	return nil
}

// Choice declares a flag whose value must be one of choices.
func Choice(fs *flag.FlagSet, name, value, usage string, choices ...string) *string {
	p := new(string)
	*p = value
	fs.Var(&choice{p, choices}, name, usage+": "+strings.Join(choices, ", "))
	return p
}

type choice struct {
	p       *string
	choices []string
}

func (c *choice) String() string {
	if c == nil || c.p == nil {
		return ""
	}
	return *c.p
}

func (c *choice) Set(s string) error {
	if !slices.Contains(c.choices, s) {
		return fmt.Errorf("want one of %s", strings.Join(c.choices, ", "))
	}
	*c.p = s
	return nil
}
