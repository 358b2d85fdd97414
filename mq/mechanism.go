package mq

import (
	"errors"
	"fmt"
)

// A Mechanism is how the two ends of a connection prove who they are, and
// whether what they say is secret. It is one of [PlainServer], [PlainClient],
// [CurveServer], [CurveClient], or nil, which is NULL: no proof, no secrecy.
// Both ends must have the same, one as the server and one as the client; which
// of them binds does not matter.
type Mechanism interface {
	name() string // as the greeting has it
	server() bool // whether this end is the server of the mechanism
	check() error // whether its fields make sense
	begin(me local) dialogue
}

// A dialogue is the handshake of one connection: commands go in, commands come
// out. It does no input or output.
type dialogue interface {
	// open returns the command that this end says unasked, nil if it waits.
	open() []byte
	// reply takes the body of a command and returns the answer, nil if there
	// is none. With an error the answer is an ERROR, still to be sent.
	reply(command []byte) ([]byte, error)
	// result returns what is known of the other end once the handshake is over,
	// before that nil. The cipher is nil if frames pass as they are.
	result() (*peerInfo, cipher)
}

// local is what a handshake says of our own end.
type local struct {
	typ      Type
	identity []byte
	accepted bool // the connection came to us
}

// peerInfo is what a handshake found out about the other end.
type peerInfo struct {
	typ      Type
	identity []byte
	minor    byte   // of the version: 0 or 1
	user     string // name of a PLAIN client, key of a CURVE client
}

// A cipher puts frames into what a mechanism sends in their place, and takes
// them out. One goroutine seals, another opens.
type cipher interface {
	// seal appends the frame on the wire, header and all, that carries a frame.
	seal(dst []byte, flags byte, body []byte) []byte
	// open takes the body of a frame that came and returns what it carries,
	// which lies inside body.
	open(body []byte) (flags byte, plain []byte, err error)
}

// An AuthError means that this end, as the server of a mechanism, has refused
// a client.
type AuthError struct {
	Mechanism string // "PLAIN" or "CURVE"
	User      string // name of a PLAIN client, key of a CURVE client
}

// Error names the client.
func (e *AuthError) Error() string {
	return fmt.Sprintf("mq: %s client %q refused", e.Mechanism, e.User)
}

// The reasons that we give in ERROR commands. libzmq understands 400 as "not
// authenticated" ([RFC 27]).
//
// [RFC 27]: https://rfc.zeromq.org/spec/27/
const (
	reasonAuth     = "400"
	reasonMetadata = "Invalid-metadata"
	reasonType     = "Invalid-socket-type"
)

// fatal reports whether a handshake that ended with err would end so again: the
// peer has sent ERROR, and wants no further attempt.
func fatal(err error) bool {
	bad, ok := errors.AsType[*ProtocolError](err)
	return ok && bad.Fatal
}

// checkMechanism reports whether a socket can be made with m.
func checkMechanism(m Mechanism) error {
	if m == nil {
		return nil
	}
	return m.check()
}

func protocolError(format string, args ...any) error {
	return &ProtocolError{Where: "handshake", What: fmt.Sprintf(format, args...)}
}

// metadata appends what we tell of ourselves. Only those types have an
// identity that a ROUTER may want to know.
func (me local) metadata(dst []byte) []byte {
	dst = appendProperty(dst, "Socket-Type", []byte(me.typ.String()))
	if me.typ.identified() {
		dst = appendProperty(dst, "Identity", me.identity)
	}
	return dst
}

// meet judges the metadata of the peer. With an error comes the reason for an
// ERROR command.
func (me local) meet(metadata []byte) (p *peerInfo, reason string, err error) {
	properties, err := parseProperties(metadata)
	if err != nil {
		return nil, reasonMetadata, err
	}
	name, ok := properties["socket-type"]
	if !ok {
		return nil, reasonType, protocolError("no Socket-Type in the metadata")
	}
	typ, err := ParseType(name)
	if err != nil || name != typ.String() {
		return nil, reasonType, protocolError("unknown Socket-Type %q", name)
	}
	if !me.typ.talksTo(typ) {
		return nil, reasonType, protocolError("a %v does not talk to a %v", me.typ, typ)
	}
	p = &peerInfo{typ: typ}
	if typ.identified() {
		p.identity = []byte(properties["identity"])
	}
	if len(p.identity) > 255 || len(p.identity) > 0 && p.identity[0] == 0 {
		return nil, reasonMetadata, protocolError("an identity of %d bytes, or one that begins with 0", len(p.identity))
	}
	return p, "", nil
}

// talksTo reports whether the two types of socket may be joined ([RFC 37], the
// Socket-Type property). The table is symmetric.
//
// [RFC 37]: https://rfc.zeromq.org/spec/37/
func (t Type) talksTo(peer Type) bool {
	switch t {
	case REQ:
		return peer == REP || peer == ROUTER
	case REP:
		return peer == REQ || peer == DEALER
	case DEALER:
		return peer == REP || peer == DEALER || peer == ROUTER
	case ROUTER:
		return peer == REQ || peer == DEALER || peer == ROUTER
	case PUB, XPUB:
		return peer == SUB || peer == XSUB
	case SUB, XSUB:
		return peer == PUB || peer == XPUB
	case PUSH:
		return peer == PULL
	case PULL:
		return peer == PUSH
	case PAIR:
		return peer == PAIR
	}
	return false
}

// identified reports whether sockets of this type tell their identity.
func (t Type) identified() bool { return t == REQ || t == DEALER || t == ROUTER }
