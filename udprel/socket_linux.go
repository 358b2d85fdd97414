package udprel

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
	"golang.org/x/sys/unix"
)

// A linuxSocket moves many datagrams in one system call: the kernel, or the
// network card, cuts what is sent into datagrams (UDP_SEGMENT, Linux 4.18) and
// glues together what has come (UDP_GRO, Linux 5.0). Where the kernel cannot cut,
// sendmmsg takes a list.
type linuxSocket struct {
	plainSocket
	conn    *net.UDPConn
	segment atomic.Bool // UDP_SEGMENT works, as far as we know
	glued   bool        // UDP_GRO is on
	oob     []byte      // for receive
	batch   batchWriter
	lists   sync.Pool // of *[]ipv4.Message
}

// A batchWriter is an ipv4.PacketConn or ipv6.PacketConn.
type batchWriter interface {
	WriteBatch(ms []ipv4.Message, flags int) (int, error)
}

// socketBuffer is what a socket is asked to hold: some 20 ms at a gigabit a
// second. The system may allow less.
const socketBuffer = 4 << 20

func newSocket(pc net.PacketConn) socket {
	conn, ok := pc.(*net.UDPConn)
	if !ok {
		return plainSocket{pc}
	}
	s := &linuxSocket{plainSocket: plainSocket{pc}, conn: conn, oob: make([]byte, unix.CmsgSpace(4))}
	s.lists.New = func() any { return new([]ipv4.Message) }
	conn.SetReadBuffer(socketBuffer) // as much as is allowed
	conn.SetWriteBuffer(socketBuffer)
	if addr, ok := conn.LocalAddr().(*net.UDPAddr); ok && addr.IP.To4() != nil {
		s.batch = ipv4.NewPacketConn(conn)
	} else {
		s.batch = ipv6.NewPacketConn(conn)
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return s
	}
	raw.Control(func(fd uintptr) {
		set := func(level, option, value int) bool { return unix.SetsockoptInt(int(fd), level, option, value) == nil }
		set(unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, socketBuffer) // if we are root
		// Packets must not be cut into fragments on their way: that would hide
		// the path's MTU.
		set(unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_PROBE)
		set(unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_PROBE)
		_, err := unix.GetsockoptInt(int(fd), unix.SOL_UDP, unix.UDP_SEGMENT)
		s.segment.Store(err == nil)
		s.glued = set(unix.SOL_UDP, unix.UDP_GRO, 1)
	})
	return s
}

func (s *linuxSocket) send(b []byte, size int, to netip.AddrPort) error {
	if len(b) <= size {
		return s.plainSocket.send(b, size, to)
	}
	if s.segment.Load() {
		var oob [32]byte
		_, _, err := s.conn.WriteMsgUDPAddrPort(b, segmentControl(oob[:0], size), to)
		switch {
		case errors.Is(err, unix.EIO):
			s.segment.Store(false) // some cards cannot do it after all
		case !errors.Is(err, unix.EINVAL): // a single one may be too long for the interface
			return err
		}
	}
	return s.sendList(b, size, to)
}

// segmentControl appends the control message that says how long the datagrams
// are.
func segmentControl(oob []byte, size int) []byte {
	oob = oob[:unix.CmsgSpace(2)]
	clear(oob)
	// struct cmsghdr is a length of the size of a pointer, level and type.
	at := unix.CmsgLen(0)
	if at == 16 {
		binary.NativeEndian.PutUint64(oob, uint64(unix.CmsgLen(2)))
	} else {
		binary.NativeEndian.PutUint32(oob, uint32(unix.CmsgLen(2)))
	}
	binary.NativeEndian.PutUint32(oob[at-8:], unix.SOL_UDP)
	binary.NativeEndian.PutUint32(oob[at-4:], unix.UDP_SEGMENT)
	binary.NativeEndian.PutUint16(oob[at:], uint16(size))
	return oob
}

// sendList is send with sendmmsg.
func (s *linuxSocket) sendList(b []byte, size int, to netip.AddrPort) error {
	list := s.lists.Get().(*[]ipv4.Message)
	defer s.lists.Put(list)
	addr := net.UDPAddrFromAddrPort(to)
	ms := (*list)[:0]
	for len(b) > 0 {
		n := min(size, len(b))
		ms = append(ms, ipv4.Message{Buffers: [][]byte{b[:n]}, Addr: addr})
		b = b[n:]
	}
	*list = ms
	for len(ms) > 0 {
		n, err := s.batch.WriteBatch(ms, 0)
		if err != nil {
			return err
		}
		ms = ms[n:]
	}
	return nil
}

func (s *linuxSocket) receive(buf []byte) (n, size int, from netip.AddrPort, err error) {
	n, k, _, from, err := s.conn.ReadMsgUDPAddrPort(buf, s.oob)
	size = n
	if at := unix.CmsgLen(0); s.glued && k >= unix.CmsgLen(4) &&
		binary.NativeEndian.Uint32(s.oob[at-8:]) == unix.SOL_UDP &&
		binary.NativeEndian.Uint32(s.oob[at-4:]) == unix.UDP_GRO {
		size = int(binary.NativeEndian.Uint32(s.oob[at:]))
	}
	if size <= 0 {
		size = n
	}
	return n, size, plain(from), err
}
