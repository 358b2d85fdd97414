package cli

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"regexp"
	"strings"
)

// A Cause is why a network operation failed, as far as a user can act on it.
// Its text is what [Explain] says.
type Cause string

// The causes that [CauseOf] tells apart.
const (
	Unknown      Cause = ""
	Refused      Cause = "refused: no program listens there"
	TimedOut     Cause = "timed out: no answer came"
	Reset        Cause = "reset: the other side broke the connection off"
	HungUp       Cause = "the other side has closed the connection"
	Truncated    Cause = "the other side closed the connection in the middle of a message"
	Unreachable  Cause = "unreachable: no way to that network or machine"
	AddrInUse    Cause = "the address is in use by another program"
	AddrNotOurs  Cause = "this machine has no such address"
	Forbidden    Cause = "permission denied"
	TooLong      Cause = "the message is too long for one datagram"
	NameNotFound Cause = "name not found"
	NameFailed   Cause = "the name service does not answer"
	ClosedHere   Cause = "the connection is closed on this side"
)

// CauseOf returns the cause of a network error, or [Unknown].
func CauseOf(err error) Cause {
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		if dns.IsNotFound {
			return NameNotFound
		}
		return NameFailed
	}
	for _, e := range errnos {
		if errors.Is(err, e.errno) {
			return e.cause
		}
	}
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		return TimedOut
	case errors.Is(err, net.ErrClosed), errors.Is(err, io.ErrClosedPipe):
		return ClosedHere
	case errors.Is(err, io.ErrUnexpectedEOF):
		return Truncated
	case errors.Is(err, io.EOF):
		return HungUp
	}
	if e, ok := errors.AsType[net.Error](err); ok && e.Timeout() {
		return TimedOut
	}
	return Unknown
}

// Explain says in plain words what was tried, against which address, and why
// it failed: "cannot connect to 127.0.0.1:1060 over tcp: refused: no program
// listens there". Words that were put before the network's error with
// fmt.Errorf stay. An error that is not the network's is returned as it is.
func Explain(err error) string {
	text := err.Error()
	cause := CauseOf(err)
	op, isOp := errors.AsType[*net.OpError](err)
	// crypto/tls calls what an alert says an operation ("remote error: tls: bad
	// certificate"); there is no better text.
	if isOp && !strings.HasSuffix(op.Op, " error") {
		why := string(cause)
		if cause == Unknown {
			why = op.Err.Error()
		}
		text = replaceTail(text, op.Error(), attempt(op)+": "+why)
		// Our packages say "framing: receive ADDR: ", or without the address,
		// before the network's own error, which has said both now.
		text = strings.Replace(text, "framing: receive: ", "", 1)
		text = strings.Replace(text, "framing: send: ", "", 1)
		if op.Addr != nil {
			said := regexp.MustCompile(`\b[a-z]+: [a-z]+ ` + regexp.QuoteMeta(op.Addr.String()) + `: `)
			text = said.ReplaceAllString(text, "")
		}
		return text
	}
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		return replaceTail(text, dns.Error(), "cannot look up "+dns.Name+": "+string(cause))
	}
	// What is left are bare sentinels, whose own text says little ("EOF").
	for _, bare := range []error{io.ErrUnexpectedEOF, io.EOF, os.ErrDeadlineExceeded, context.DeadlineExceeded, net.ErrClosed} {
		if errors.Is(err, bare) && strings.HasSuffix(text, bare.Error()) {
			return replaceTail(text, bare.Error(), string(cause))
		}
	}
	return text
}

// attempt says what op was about.
func attempt(op *net.OpError) string {
	addr := ""
	if op.Addr != nil {
		addr = op.Addr.String()
	}
	var verb string
	switch op.Op {
	case "dial":
		verb = "cannot connect to "
		if dns, ok := errors.AsType[*net.DNSError](op.Err); ok && addr == "" {
			return "cannot look up " + dns.Name
		}
	case "listen":
		verb = "cannot listen on "
	case "read":
		verb = "cannot read from "
	case "write", "writev":
		verb = "cannot send to "
	case "accept":
		verb = "cannot accept connections on "
	default:
		verb = "cannot " + op.Op + " "
	}
	if addr == "" {
		addr = "the network"
	}
	return verb + addr + " over " + strings.TrimRight(op.Net, "46")
}

// replaceTail puts new in the place of old, the innermost words of an error's
// text, and keeps what wraps them.
func replaceTail(text, old, new string) string {
	i := strings.LastIndex(text, old)
	if i < 0 {
		return text + ": " + new
	}
	return text[:i] + new + text[i+len(old):]
}
