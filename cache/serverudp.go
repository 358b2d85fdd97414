package cache

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
)

// A datagram begins with a head of 8 bytes, four numbers of 16 bits in network
// byte order: the number of the request, chosen by the client and sent back; the
// number of this datagram in its message, from 0; how many datagrams the
// message has; and 0. A request is one datagram.
const (
	udpHeader  = 8
	udpPayload = 1400 - udpHeader // of an answer: that goes through almost every network

	maxDatagrams = 1024 // of an answer: a value of a mebibyte, and more
)

// ServePacket answers requests that come in datagrams. It owns pc. It returns
// when ctx ends, with its cause, or after Shutdown or Close, with
// net.ErrClosed, or when pc fails.
//
// A short request can have an answer of a megabyte, and the sender's address
// may be forged: whoever can reach the socket can make it flood others. Serve
// datagrams only where no stranger can send one.
func (s *Server) ServePacket(ctx context.Context, pc net.PacketConn) error {
	if s.Authenticate != nil {
		pc.Close()
		return errors.New("cache: UDP cannot be served to authenticated clients only")
	}
	if err := s.begin(pc, pc.LocalAddr()); err != nil {
		return fmt.Errorf("cache: serve on %v: %w", pc.LocalAddr(), err)
	}
	defer s.forget(pc)
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return fmt.Errorf("cache: serve on %v: %w", pc.LocalAddr(), net.ErrClosed)
	}
	s.wg.Add(1) // the items' memory must stay while we are here
	s.mu.Unlock()
	defer s.wg.Done()
	unwatch := context.AfterFunc(ctx, func() { pc.Close() })
	defer unwatch()
	c := newConn(s, nil, nil, 0)
	defer c.giveBuffers()
	request := make([]byte, 64<<10)
	answer := make([]byte, 0, udpHeader+udpPayload)
	for {
		n, peer, err := pc.ReadFrom(request)
		switch {
		case err == nil:
		case s.isClosed():
			return fmt.Errorf("cache: serve on %v: %w", pc.LocalAddr(), net.ErrClosed)
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("cache: receive on %v: %w", pc.LocalAddr(), err)
		default:
			continue // an error that an earlier answer has met
		}
		if n < udpHeader {
			continue
		}
		s.count.bytesRead.Add(uint64(n))
		c.peer = peer
		reply := c.datagram(request[:n])
		count := (len(reply) + udpPayload - 1) / udpPayload
		for i := range count {
			part := reply[i*udpPayload:]
			part = part[:min(len(part), udpPayload)]
			answer = append(answer[:0], request[:2]...)
			answer = binary.BigEndian.AppendUint16(answer, uint16(i))
			answer = binary.BigEndian.AppendUint16(answer, uint16(count))
			answer = append(append(answer, 0, 0), part...)
			if _, err := pc.WriteTo(answer, peer); err != nil {
				break
			}
			s.count.bytesWritten.Add(uint64(len(answer)))
		}
	}
}

// datagram carries out the commands of one request and returns the answers,
// which are valid until the next call.
func (c *conn) datagram(request []byte) []byte {
	c.giveBuffers()
	c.closing, c.long, c.tooMuch = false, longNone, false
	c.tick()
	c.in, c.r, c.w = request, udpHeader, len(request)
	if binary.BigEndian.Uint16(request[4:]) > 1 {
		c.quiet = false
		c.reply(replyServerError + "multi-packet request not supported")
		return c.out
	}
	for c.r < c.w && !c.closing {
		line, whole, err := c.line()
		if err != nil {
			break
		}
		c.command(line, whole)
		_ = c.send() // only looks at the size
	}
	if c.tooMuch {
		c.quiet = false
		c.out = c.out[:0]
		c.reply(replyServerError + "answer too large for UDP")
	}
	return c.out
}
