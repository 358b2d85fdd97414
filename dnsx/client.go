package dnsx

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"time"

	"github.com/miekg/dns"
)

const (
	// defaultUDPSize passes every path without fragments, IPv6 too. It is what
	// the operators agreed on at the DNS flag day of 2020.
	defaultUDPSize = 1232

	// maxForged is how many wrong datagrams a question bears. Then somebody is
	// guessing, and it is asked over TCP, where guessing is hopeless.
	maxForged = 8
	// maxFlood is how many it bears if the server has no TCP.
	maxFlood = 1000
)

// A Client asks one server one question: over UDP, and again over TCP when the
// response is truncated. Its zero value is ready to use.
//
// What comes over UDP could come from anybody. It is believed only if it comes
// from the server's address and port, to the port that was chosen at random for
// this one question (by the system, in a socket of its own), with the 16 random
// bits of the ID and with the question repeated octet for octet, in which every
// letter was made large or small at random ([RFC 5452] and what is known as
// 0x20). After eight wrong datagrams the question is asked over TCP, and so it
// is when a server repeats the letters otherwise. If the server has no TCP, it
// is asked over UDP again, with more patience or without the mixing.
//
// [RFC 5452]: https://www.rfc-editor.org/rfc/rfc5452
type Client struct {
	// Dial opens connections, network being "udp" or "tcp". Nil means those of
	// a net.Dialer. Every UDP socket must be a fresh one, with a port that
	// cannot be guessed.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// TLS, if not nil, asks over TLS and never in clear [RFC 7858]. If it names
	// no server, the certificate must be for the server's address.
	//
	// [RFC 7858]: https://www.rfc-editor.org/rfc/rfc7858
	TLS *tls.Config
	// TCP never uses UDP.
	TCP bool
	// KeepCase sends letters as they are.
	KeepCase bool
	// UDPSize is the largest datagram to take, in octets; a longer one is
	// asked for again over TCP. 0 means 1232.
	UDPSize uint16
	// Timeout is how long one exchange may take, TCP included. 0 means 5 s.
	Timeout time.Duration
	// Rand chooses IDs and letters; it must be safe for use by many
	// goroutines. Nil means crypto/rand.
	Rand io.Reader
	// Trace, if not nil, is told what happens.
	Trace *Trace
}

// Exchange sends a query and returns the response, whatever it says. The ID is
// chosen at random. Port 0 of the server means 53, or 853 with TLS. An error is
// an [Error]; it matches [ErrTemporary] unless ctx ended or the query is wrong.
func (c *Client) Exchange(ctx context.Context, server netip.AddrPort, query *Message) (*Message, error) {
	var q Question
	if len(query.Questions) > 0 {
		q = query.Questions[0]
	}
	if n := len(query.Questions); n > 1 { // RFC 9619
		return nil, &Error{Name: q.Name, Type: q.Type, Server: server, Err: fmt.Errorf("a query of %d questions", n)}
	}
	wire, err := query.Pack()
	if err != nil {
		return nil, err
	}
	response, err := c.roundTrip(ctx, server, wire, 0)
	if err != nil {
		return nil, &Error{Name: q.Name, Type: q.Type, Server: server, Err: err}
	}
	m, err := ParseMessage(response)
	if err != nil {
		return nil, &Error{Name: q.Name, Type: q.Type, Server: server, Err: temporary(err)}
	}
	return m, nil
}

// tempError is a cause that matches ErrTemporary besides itself.
type tempError struct{ cause error }

func (e tempError) Error() string   { return e.cause.Error() }
func (e tempError) Unwrap() []error { return []error{ErrTemporary, e.cause} }

// temporary makes an error temporary, unless it already is.
func temporary(cause error) error {
	if errors.Is(cause, ErrTemporary) {
		return cause
	}
	return tempError{cause}
}

// Why there is no response.
var (
	errTimeout  = errors.New("no answer in time")
	errForged   = errors.New("too many wrong answers over UDP, and none over TCP")
	errNotIt    = errors.New("not the response to the question")
	errLetters  = errors.New("the letters of the question have changed")
	errWrongID  = errors.New("another ID")
	errNoHeader = errors.New("too short for a message")
)

// roundTrip sends the query, which it changes, and returns the response. A
// timeout of 0 means that of c.
func (c *Client) roundTrip(ctx context.Context, server netip.AddrPort, query []byte, timeout time.Duration) ([]byte, error) {
	if server.Port() == 0 {
		port := uint16(53)
		if c.TLS != nil {
			port = 853
		}
		server = netip.AddrPortFrom(server.Addr(), port)
	}
	if timeout == 0 {
		timeout = c.Timeout
	}
	if timeout <= 0 {
		timeout = 5 * time.Second
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	deadline := time.Now().Add(timeout)
	end, ends := ctx.Deadline()
	if ends && end.Before(deadline) {
		deadline = end
	}
	response, err := c.exchange(ctx, server, query, deadline)
	if err == nil {
		return response, nil
	}
	if ends && !time.Now().Before(end) {
		<-ctx.Done() // the connection's deadline, which is the same, came first
	}
	switch {
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded):
		err = fmt.Errorf("%w (%v)", errTimeout, timeout)
	}
	return nil, temporary(err)
}

// exchange decides over what to ask.
func (c *Client) exchange(ctx context.Context, server netip.AddrPort, query []byte, deadline time.Time) ([]byte, error) {
	if c.TLS != nil || c.TCP {
		return c.overTCP(ctx, server, query, deadline)
	}
	mix := !c.KeepCase
	response, err := c.overUDP(ctx, server, query, deadline, mix, maxForged)
	switch {
	case err == nil && response[2]&2 == 0: // TC
		return response, nil
	case err == nil:
		return c.overTCP(ctx, server, query, deadline)
	case !errors.Is(err, errForged) && !errors.Is(err, errLetters):
		return nil, err
	}
	if response, tcpErr := c.overTCP(ctx, server, query, deadline); tcpErr == nil {
		return response, nil
	}
	return c.overUDP(ctx, server, query, deadline, mix && !errors.Is(err, errLetters), maxFlood)
}

// dial opens a connection that ends with ctx, and at the deadline.
func (c *Client) dial(ctx context.Context, network string, server netip.AddrPort, deadline time.Time) (conn net.Conn, stop func(), err error) {
	if c.Dial == nil && network == "udp" { // the shortest way, since most questions go it
		conn, err = new(net.Dialer).DialUDP(ctx, network, netip.AddrPort{}, server)
	} else {
		dial := c.Dial
		if dial == nil {
			dial = new(net.Dialer).DialContext
		}
		limited, cancel := context.WithDeadline(ctx, deadline)
		defer cancel()
		conn, err = dial(limited, network, server.String())
	}
	if err != nil {
		return nil, nil, err
	}
	if err := conn.SetDeadline(deadline); err != nil {
		conn.Close()
		return nil, nil, err
	}
	unwatch := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	return conn, func() { unwatch(); conn.Close() }, nil
}

// udpSize is the largest datagram that c takes. 512 octets is what a server may
// send without being told [RFC 1035 section 4.2.1].
//
// [RFC 1035 section 4.2.1]: https://www.rfc-editor.org/rfc/rfc1035#section-4.2.1
func (c *Client) udpSize() uint16 {
	if c.UDPSize == 0 {
		return defaultUDPSize
	}
	return max(c.UDPSize, 512)
}

// random fills p.
func (c *Client) random(p []byte) error {
	r := c.Rand
	if r == nil {
		r = rand.Reader
	}
	_, err := io.ReadFull(r, p)
	return err
}

// overUDP asks in one datagram and waits for the right one, as long as there
// are not too many wrong ones.
func (c *Client) overUDP(ctx context.Context, server netip.AddrPort, query []byte, deadline time.Time, mix bool, wrong int) ([]byte, error) {
	if err := c.random(query[:2]); err != nil {
		return nil, err
	}
	question := questions(query)
	sent := query
	if mix {
		sent = bytes.Clone(query)
		if err := c.mixCase(questions(sent)); err != nil {
			return nil, err
		}
	}
	conn, stop, err := c.dial(ctx, "udp", server, deadline)
	if err != nil {
		return nil, err
	}
	defer stop()
	if _, err := conn.Write(sent); err != nil {
		return nil, err
	}
	c.Trace.sent(Packet{Server: server, Network: "udp", Wire: sent})

	buf := make([]byte, int(c.udpSize())+1) // one more, to see that it is too long
	for range wrong {
		n, err := conn.Read(buf)
		if err != nil {
			return nil, err
		}
		packet := Packet{Server: server, Network: "udp", Wire: buf[:n]}
		err = matches(sent, buf[:n])
		if err == nil {
			c.Trace.received(packet)
			if binary.BigEndian.Uint16(buf[4:]) > 0 {
				// As it was asked; names that point here change with it.
				copy(buf[headerSize:n], question)
			}
			if n == len(buf) {
				buf[2] |= 2 // longer than we said, and cut off: as good as TC
			}
			return buf[:n], nil
		}
		c.Trace.ignored(packet, err)
		if mix && errors.Is(err, errLetters) {
			return nil, err
		}
	}
	return nil, errForged
}

// overTCP asks over TCP or TLS, where each message has its length before it
// [RFC 1035 section 4.2.2].
//
// [RFC 1035 section 4.2.2]: https://www.rfc-editor.org/rfc/rfc1035#section-4.2.2
func (c *Client) overTCP(ctx context.Context, server netip.AddrPort, query []byte, deadline time.Time) ([]byte, error) {
	if err := c.random(query[:2]); err != nil {
		return nil, err
	}
	conn, stop, err := c.dial(ctx, "tcp", server, deadline)
	if err != nil {
		return nil, err
	}
	defer stop()
	network := "tcp"
	if c.TLS != nil {
		config := c.TLS
		if config.ServerName == "" && !config.InsecureSkipVerify {
			config = config.Clone()
			config.ServerName = server.Addr().String()
		}
		conn = tls.Client(conn, config)
		network = "tls"
	}
	// The length and the message in one segment.
	if _, err := conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(query))), query...)); err != nil {
		return nil, err
	}
	c.Trace.sent(Packet{Server: server, Network: network, Wire: query})
	response, err := readTCP(conn)
	if err != nil {
		return nil, err
	}
	packet := Packet{Server: server, Network: network, Wire: response}
	if err := matches(query, response); err != nil {
		c.Trace.ignored(packet, err)
		if !errors.Is(err, errLetters) { // nobody guesses here: the server is just careless
			return nil, err
		}
	}
	c.Trace.received(packet)
	return response, nil
}

// readTCP reads one message with its length before it.
func readTCP(r io.Reader) ([]byte, error) {
	var size [2]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return nil, err
	}
	message := make([]byte, binary.BigEndian.Uint16(size[:]))
	if _, err := io.ReadFull(r, message); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	return message, nil
}

// questions returns the octets of the question section of a query of ours,
// which has one question or none.
func questions(query []byte) []byte {
	end := headerSize
	if binary.BigEndian.Uint16(query[4:]) > 0 {
		for query[end] != 0 {
			end += 1 + int(query[end])
		}
		end += 1 + 4 // the root label, type and class
	}
	return query[headerSize:end]
}

// mixCase makes every letter of the first question's name large or small.
func (c *Client) mixCase(question []byte) error {
	var bits [maxName/8 + 1]byte
	if err := c.random(bits[:min(len(bits), len(question)/8+1)]); err != nil {
		return err
	}
	for i := 0; i < len(question) && question[i] != 0; {
		label := question[i+1 : i+1+int(question[i])]
		for j, letter := range label {
			if 'a' <= letter|0x20 && letter|0x20 <= 'z' && bits[(i+j)/8]>>((i+j)%8)&1 == 1 {
				label[j] ^= 0x20
			}
		}
		i += 1 + len(label)
	}
	return nil
}

// matches says why response cannot be that to query.
func matches(query, response []byte) error {
	want := questions(query)
	switch {
	case len(response) < headerSize:
		return errNoHeader
	case !bytes.Equal(response[:2], query[:2]):
		return errWrongID
	case response[2]&0x80 == 0 || (response[2]^query[2])&0x78 != 0: // QR, opcode
		return errNotIt
	case bytes.Equal(response[4:6], query[4:6]) && bytes.HasPrefix(response[headerSize:], want):
		return nil
	case binary.BigEndian.Uint16(response[4:]) == 0 && Rcode(response[3]&15) == RcodeFormErr:
		return nil // a server that could not read the question cannot repeat it
	case len(response) >= headerSize+len(want) && bytes.EqualFold(response[headerSize:headerSize+len(want)], want):
		return errLetters
	}
	return errNotIt
}

// appendQuery appends a query with one question, without an ID.
func appendQuery(dst []byte, name string, typ Type, recurse, edns bool, size uint16) ([]byte, error) {
	var header [headerSize]byte
	if recurse {
		header[2] = 1 // RD
	}
	header[5] = 1 // one question
	if edns {
		header[11] = 1 // one additional record
	}
	at := len(dst)
	dst = append(dst, header[:]...)
	dst = append(dst, make([]byte, maxName+1)...)
	n, err := dns.PackDomainName(name, dst[at:], headerSize, nil, false)
	if err != nil {
		return nil, fmt.Errorf("dnsx: %q: %w", name, ErrName)
	}
	dst = dst[:at+n]
	dst = binary.BigEndian.AppendUint16(dst, uint16(typ))
	dst = binary.BigEndian.AppendUint16(dst, dns.ClassINET)
	if edns { // the root's name, type, the size in place of the class, no flags, no options
		dst = append(dst, 0, 0, byte(dns.TypeOPT))
		dst = binary.BigEndian.AppendUint16(dst, size)
		dst = append(dst, 0, 0, 0, 0, 0, 0)
	}
	return dst, nil
}
