package mq

import (
	"bytes"
	"encoding/binary"
	"io"
)

// greetingSize is how many bytes each end says first: signature, version,
// mechanism, whether it is the server of the mechanism, filler.
const greetingSize = 64

// The places of a greeting's fields.
const (
	greetingMajor     = 10
	greetingMinor     = 11
	greetingMechanism = 12
	greetingServer    = 32
)

// appendGreeting appends what we say: version 3.1 and our mechanism.
func appendGreeting(dst []byte, mechanism string, server bool) []byte {
	var g [greetingSize]byte
	g[0], g[9] = 0xff, 0x7f
	g[greetingMajor], g[greetingMinor] = 3, 1
	copy(g[greetingMechanism:greetingServer], mechanism)
	if server {
		g[greetingServer] = 1
	}
	return append(dst, g[:]...)
}

// checkGreeting judges the greeting of the peer, or as much of it as has come:
// a peer that speaks something else is found out by its first byte, and one
// that speaks ZMTP 1 or 2 before we would wait for bytes that it never sends.
// Between 1 and 8 there is padding, to be ignored; so is the filler.
func checkGreeting(g []byte) error {
	switch {
	case len(g) > 0 && g[0] != 0xff, len(g) > 9 && g[9] != 0x7f:
		return protocolError("the peer does not speak ZMTP 3: it began with %q", g[:min(len(g), 10)])
	case len(g) > greetingMajor && g[greetingMajor] < 3:
		return protocolError("the peer speaks ZMTP %d, older than 3.0", g[greetingMajor])
	}
	return nil
}

// handshake opens a fresh connection: greeting, handshake of the mechanism,
// metadata. It returns what it learned about the peer. It reads no byte beyond
// the last command of the handshake, and takes memory only for what has
// arrived. How long it may take is the business of the connection's deadline.
func handshake(conn io.ReadWriter, m Mechanism, me local) (peerInfo, cipher, error) {
	if m == nil {
		m = null{}
	}
	minor, err := greet(conn, m)
	if err != nil {
		return peerInfo{}, nil, err
	}
	p, c, err := exchange(conn, m.begin(me))
	if err != nil {
		return peerInfo{}, nil, err
	}
	p.minor = minor
	return *p, c, nil
}

// greet exchanges greetings and returns the minor version to speak.
func greet(conn io.ReadWriter, m Mechanism) (minor byte, err error) {
	if _, err := conn.Write(appendGreeting(nil, m.name(), m.server())); err != nil {
		return 0, err
	}
	var g [greetingSize]byte
	for n := 0; n < len(g); {
		k, err := conn.Read(g[n:])
		if n += k; k > 0 {
			err = nil
		}
		if bad := checkGreeting(g[:n]); bad != nil {
			return 0, bad
		}
		if err != nil {
			return 0, cutOff(err)
		}
	}
	if theirs := string(bytes.TrimRight(g[greetingMechanism:greetingServer], "\x00")); theirs != m.name() {
		return 0, protocolError("the peer's security mechanism is %q, ours %s", theirs, m.name())
	}
	if m.server() && g[greetingServer] == 1 {
		return 0, protocolError("both ends are servers of %s", m.name())
	}
	if g[greetingMajor] > 3 { // a later version has to speak ours (RFC 37)
		return 1, nil
	}
	return min(g[greetingMinor], 1), nil
}

// exchange leads the dialogue of commands until it is over.
func exchange(conn io.ReadWriter, talk dialogue) (*peerInfo, cipher, error) {
	out := talk.open()
	var in bytes.Buffer
	for {
		if out != nil {
			if _, err := conn.Write(appendFrame(nil, flagCommand, out)); err != nil {
				return nil, nil, err
			}
		}
		if p, c := talk.result(); p != nil {
			return p, c, nil
		}
		if err := readCommand(conn, &in); err != nil {
			return nil, nil, err
		}
		var err error
		if out, err = talk.reply(in.Bytes()); err != nil {
			if out != nil { // an ERROR; that it may not arrive changes nothing
				_, _ = conn.Write(appendFrame(nil, flagCommand, out))
			}
			return nil, nil, err
		}
	}
}

// maxHandshake is the longest command of a handshake.
const maxHandshake = 64 << 10

// readCommand reads one command's body.
func readCommand(r io.Reader, body *bytes.Buffer) error {
	var head [9]byte
	if _, err := io.ReadFull(r, head[:2]); err != nil {
		return cutOff(err)
	}
	size := uint64(head[1])
	switch head[0] {
	case flagCommand:
	case flagCommand | flagLong:
		if _, err := io.ReadFull(r, head[2:9]); err != nil {
			return cutOff(err)
		}
		size = binary.BigEndian.Uint64(head[1:])
	default:
		return protocolError("a frame with flags %#x during the handshake", head[0])
	}
	if size > maxHandshake {
		return protocolError("a command of %d bytes during the handshake", size)
	}
	body.Reset()
	if _, err := io.CopyN(body, r, int64(size)); err != nil {
		return cutOff(err)
	}
	return nil
}

// cutOff makes io.ErrUnexpectedEOF of io.EOF: inside the handshake no end of
// the stream is a good one.
func cutOff(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
