package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A packetSocket is a tap on Linux: see packet(7).
type packetSocket struct {
	file *os.File
	raw  syscall.RawConn
	oob  [64]byte
}

// openTap opens a packet socket on all interfaces: over which one a packet
// comes is the system's choice, and packets from this machine to itself take
// the loopback whatever their address. It hears what is from or to the port.
func openTap(port uint16) (tap, error) {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0) // hears nothing yet
	if err != nil {
		if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) {
			return nil, fmt.Errorf("%w: it takes root, or the capability CAP_NET_RAW", errNoCapture)
		}
		return nil, fmt.Errorf("%w: %w", errNoCapture, os.NewSyscallError("socket", err))
	}
	file := os.NewFile(uintptr(fd), "packet socket")
	raw, err := file.SyscallConn()
	if err == nil {
		err = listenTo(fd, port)
	}
	if err != nil {
		file.Close()
		return nil, fmt.Errorf("%w: %w", errNoCapture, err)
	}
	return &packetSocket{file: file, raw: raw}, nil
}

// listenTo prepares the socket and opens its ears.
func listenTo(fd int, port uint16) error {
	if err := attach(fd, onlyPort(port)); err != nil {
		return os.NewSyscallError("setsockopt SO_ATTACH_FILTER", err)
	}
	// The kernel notes when each packet passed; the moment at which this
	// program gets to read it would be later.
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMP, 1); err != nil {
		return os.NewSyscallError("setsockopt SO_TIMESTAMP", err)
	}
	// Room for bursts, as far as the system allows.
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 4<<20); err != nil {
		return os.NewSyscallError("setsockopt SO_RCVBUF", err)
	}
	everything := binary.NativeEndian.Uint16([]byte{0, unix.ETH_P_ALL}) // in network byte order
	return os.NewSyscallError("bind", unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: everything}))
}

func (s *packetSocket) next(buf []byte, wait bool) (record, error) {
	for {
		var n, oobn int
		var from unix.Sockaddr
		var err error
		if rerr := s.raw.Read(func(fd uintptr) (done bool) {
			n, oobn, _, from, err = unix.Recvmsg(int(fd), buf, s.oob[:], unix.MSG_TRUNC)
			return err != unix.EAGAIN || !wait
		}); rerr != nil {
			return record{}, rerr
		}
		switch err {
		case nil:
		case unix.EAGAIN:
			return record{}, os.ErrDeadlineExceeded
		case unix.EINTR, unix.ENETDOWN: // some interface went away
			continue
		default:
			return record{}, os.NewSyscallError("recvmsg", err)
		}
		if link, ok := from.(*unix.SockaddrLinklayer); !ok || !wanted(link) {
			continue
		}
		return record{at: s.stamp(oobn), data: buf[:min(n, len(buf))], size: n}, nil
	}
}

// wanted refuses packets without an Ethernet header, and one of the two times
// that a packet passes on the loopback: once going out, once coming in.
func wanted(link *unix.SockaddrLinklayer) bool {
	switch link.Hatype {
	case unix.ARPHRD_ETHER:
		return true
	case unix.ARPHRD_LOOPBACK:
		return link.Pkttype != unix.PACKET_OUTGOING
	}
	return false
}

// stamp returns the time that the kernel gave with the packet: seconds and
// microseconds, as numbers of the machine's own size.
func (s *packetSocket) stamp(n int) time.Time {
	messages, err := unix.ParseSocketControlMessage(s.oob[:n])
	if err == nil {
		for _, m := range messages {
			if m.Header.Level != unix.SOL_SOCKET || m.Header.Type != unix.SCM_TIMESTAMP {
				continue
			}
			switch len(m.Data) {
			case 16:
				return time.Unix(int64(binary.NativeEndian.Uint64(m.Data)), int64(binary.NativeEndian.Uint64(m.Data[8:]))*1000)
			case 8:
				return time.Unix(int64(binary.NativeEndian.Uint32(m.Data)), int64(binary.NativeEndian.Uint32(m.Data[4:]))*1000)
			}
		}
	}
	return time.Now()
}

func (s *packetSocket) SetReadDeadline(by time.Time) error { return s.file.SetReadDeadline(by) }

func (s *packetSocket) lost() int {
	lost := 0
	_ = s.raw.Control(func(fd uintptr) {
		if stats, err := unix.GetsockoptTpacketStats(int(fd), unix.SOL_PACKET, unix.PACKET_STATISTICS); err == nil {
			lost = int(stats.Drops)
		}
	})
	return lost
}

func (s *packetSocket) Close() error { return s.file.Close() }
