package mq

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
	"time"
)

// The names of ZMTP's commands.
const (
	cmdReady     = "READY"
	cmdError     = "ERROR"
	cmdHello     = "HELLO"
	cmdWelcome   = "WELCOME"
	cmdInitiate  = "INITIATE"
	cmdMessage   = "MESSAGE"
	cmdSubscribe = "SUBSCRIBE"
	cmdCancel    = "CANCEL"
	cmdPing      = "PING"
	cmdPong      = "PONG"
)

// maxContext is how many bytes of a PING come back in its PONG.
const maxContext = 16

// appendCommand appends the start of a command's body: its name, with its
// length before it.
func appendCommand(dst []byte, name string) []byte {
	dst = append(dst, byte(len(name)))
	return append(dst, name...)
}

// parseCommand splits the body of a command into name and data. Both are part
// of body. The name is made of letters ([RFC 37], formal grammar).
//
// [RFC 37]: https://rfc.zeromq.org/spec/37/
func parseCommand(body []byte) (name, data []byte, err error) {
	if len(body) == 0 || body[0] == 0 || int(body[0]) > len(body)-1 {
		return nil, nil, protocolError("command without a name")
	}
	name, data = body[1:1+int(body[0])], body[1+int(body[0]):]
	for _, c := range name {
		if c|0x20 < 'a' || c|0x20 > 'z' {
			return nil, nil, protocolError("command name %q", name)
		}
	}
	return name, data, nil
}

// misspelt is how ERROR begins when the server of PLAIN is libzmq (to 4.3.5 at
// least). Its source says "\x05ERROR", where C takes the E for a third digit.
const misspelt = "^RROR"

// expect returns the data of a command that must be the one called want. If it
// is ERROR instead, the error is fatal.
func expect(body []byte, want string) ([]byte, error) {
	if bytes.HasPrefix(body, []byte(misspelt)) {
		body = append([]byte("\x05ERROR"), body[len(misspelt):]...)
	}
	name, data, err := parseCommand(body)
	switch {
	case err != nil:
		return nil, err
	case string(name) == want:
		return data, nil
	case string(name) == cmdError:
		if len(data) == 0 || int(data[0]) != len(data)-1 {
			return nil, protocolError("ERROR without a reason")
		}
		return nil, &ProtocolError{
			Where: "handshake", Fatal: true,
			What: fmt.Sprintf("refused by the peer: %q", data[1:]),
		}
	}
	return nil, protocolError("%s where %s was due", name, want)
}

// appendErrorCommand appends the body of an ERROR. The reason has no spaces:
// the grammar allows printable characters only.
func appendErrorCommand(dst []byte, reason string) []byte {
	dst = append(appendCommand(dst, cmdError), byte(len(reason)))
	return append(dst, reason...)
}

// appendSubscription appends the body of the frame that subscribes to a topic
// or cancels that, and returns the frame's flags: it is a command for peers of
// version 3.1, and for those of 3.0 a message that begins with 1 or 0 (RFC 23).
func appendSubscription(dst []byte, minor byte, cancel bool, topic string) (flags byte, body []byte) {
	switch {
	case minor == 0 && cancel:
		dst = append(dst, 0)
	case minor == 0:
		dst = append(dst, 1)
	case cancel:
		flags, dst = flagCommand, appendCommand(dst, cmdCancel)
	default:
		flags, dst = flagCommand, appendCommand(dst, cmdSubscribe)
	}
	return flags, append(dst, topic...)
}

// appendPing appends the body of a PING. The time to live has steps of 100 ms
// and at most 6553.5 s; one that is no whole number of steps is rounded up.
func appendPing(dst []byte, ttl time.Duration, context []byte) []byte {
	const step = 100 * time.Millisecond
	steps := min(max(0, (ttl+step-1)/step), 1<<16-1)
	dst = binary.BigEndian.AppendUint16(appendCommand(dst, cmdPing), uint16(steps))
	return append(dst, context...)
}

// parsePing takes the data of a PING apart.
func parsePing(data []byte) (ttl time.Duration, context []byte, err error) {
	if len(data) < 2 || len(data) > 2+maxContext {
		return 0, nil, protocolError("PING of %d bytes", len(data))
	}
	return time.Duration(binary.BigEndian.Uint16(data)) * 100 * time.Millisecond, data[2:], nil
}

// appendPong appends the body of the PONG that answers a PING.
func appendPong(dst, context []byte) []byte {
	return append(appendCommand(dst, cmdPong), context...)
}

// appendProperty appends one property of a connection's metadata.
func appendProperty(dst []byte, name string, value []byte) []byte {
	dst = append(append(dst, byte(len(name))), name...)
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(value)))
	return append(dst, value...)
}

// parseProperties reads metadata. Names come out in lower case, since their
// case is not significant.
func parseProperties(data []byte) (map[string]string, error) {
	properties := make(map[string]string)
	for len(data) > 0 {
		n := int(data[0])
		if n == 0 || len(data) < 1+n+4 {
			return nil, protocolError("metadata cut off")
		}
		name := strings.ToLower(string(data[1 : 1+n]))
		if strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-_.+") != "" {
			return nil, protocolError("metadata name %q", name)
		}
		size := binary.BigEndian.Uint32(data[1+n:])
		data = data[1+n+4:]
		if uint64(size) > uint64(len(data)) {
			return nil, protocolError("metadata cut off in %s", name)
		}
		if _, twice := properties[name]; twice {
			return nil, protocolError("metadata has %s twice", name)
		}
		properties[name] = string(data[:size])
		data = data[size:]
	}
	return properties, nil
}
