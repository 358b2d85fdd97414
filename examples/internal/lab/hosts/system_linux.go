package hosts

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// A systemStack is a TCP/IP stack of Linux: that of a network namespace which
// has nothing but a TUN interface, whose other end is this program. A namespace
// belongs to a thread, so that a goroutine which never leaves its own opens the
// sockets; after that anybody may use them.
type systemStack struct {
	congestion string
	tun        *os.File
	work       chan func() // for the goroutine in the namespace; closed to end it
	wg         sync.WaitGroup
}

func newSystemStack(addr netip.Addr, mtu int, congestion string, send func([]byte)) (tcpip, error) {
	s := &systemStack{congestion: congestion, work: make(chan func())}
	ready := make(chan error)
	s.wg.Go(func() {
		// No UnlockOSThread: the thread ends with the goroutine, and with the
		// last thread and socket the namespace.
		runtime.LockOSThread()
		err := unix.Unshare(unix.CLONE_NEWNET)
		if errors.Is(err, unix.EPERM) {
			err = fmt.Errorf("a network namespace of one's own takes root: %w", err)
		}
		if err == nil {
			s.tun, err = openTUN(addr, mtu)
		}
		ready <- err
		for f := range s.work {
			f()
		}
	})
	if err := <-ready; err != nil {
		close(s.work)
		s.wg.Wait()
		return nil, err
	}
	s.wg.Go(func() {
		for {
			packet := make([]byte, mtu)
			n, err := s.tun.Read(packet)
			if err != nil {
				return // closed
			}
			send(packet[:n])
		}
	})
	return s, nil
}

// openTUN makes a network interface and returns its other end.
func openTUN(addr netip.Addr, mtu int) (*os.File, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("/dev/net/tun: %w", err)
	}
	// Interfaces are set up through any socket of their namespace.
	control, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err == nil {
		defer unix.Close(control)
		err = configure(fd, control, addr, mtu)
	}
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("a TUN interface: %w", err)
	}
	// Not earlier: Go's poller would find a descriptor without an interface bad.
	return os.NewFile(uintptr(fd), "/dev/net/tun"), nil
}

func configure(tun, control int, addr netip.Addr, mtu int) error {
	ip, mask := addr.As4(), [4]byte{255, 255, 255, 0}
	for _, step := range []struct {
		fd      int
		request uint
		set     func(*unix.Ifreq) error
	}{
		{tun, unix.TUNSETIFF, func(r *unix.Ifreq) error { r.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI); return nil }},
		{control, unix.SIOCSIFADDR, func(r *unix.Ifreq) error { return r.SetInet4Addr(ip[:]) }},
		{control, unix.SIOCSIFNETMASK, func(r *unix.Ifreq) error { return r.SetInet4Addr(mask[:]) }},
		{control, unix.SIOCSIFMTU, func(r *unix.Ifreq) error { r.SetUint32(uint32(mtu)); return nil }},
		{control, unix.SIOCSIFFLAGS, func(r *unix.Ifreq) error { r.SetUint16(unix.IFF_UP | unix.IFF_RUNNING); return nil }},
	} {
		request, err := unix.NewIfreq("zocalo0")
		if err == nil {
			err = step.set(request)
		}
		if err == nil {
			err = unix.IoctlIfreq(step.fd, step.request, request)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// inside runs f in the namespace.
func (s *systemStack) inside(f func()) {
	done := make(chan struct{})
	s.work <- func() { defer close(done); f() }
	<-done
}

// choose sets a socket's congestion control, which connections that a listener
// accepts take over.
func (s *systemStack) choose(_, _ string, raw syscall.RawConn) error {
	var err error
	if controlErr := raw.Control(func(fd uintptr) {
		err = unix.SetsockoptString(int(fd), unix.IPPROTO_TCP, unix.TCP_CONGESTION, s.congestion)
	}); controlErr != nil {
		return controlErr
	}
	if err != nil {
		return fmt.Errorf("congestion control %q: %w", s.congestion, err)
	}
	return nil
}

func (s *systemStack) listen(own netip.AddrPort) (ln net.Listener, err error) {
	config := net.ListenConfig{Control: s.choose}
	config.SetMultipathTCP(false)
	s.inside(func() { ln, err = config.Listen(context.Background(), "tcp4", own.String()) })
	return ln, err
}

func (s *systemStack) dial(ctx context.Context, to netip.AddrPort) (conn net.Conn, err error) {
	dialer := net.Dialer{Control: s.choose}
	s.inside(func() { conn, err = dialer.DialContext(ctx, "tcp4", to.String()) })
	return conn, err
}

func (s *systemStack) listenPacket(own netip.AddrPort) (pc net.PacketConn, err error) {
	s.inside(func() { pc, err = net.ListenPacket("udp4", own.String()) })
	return pc, err
}

// take gives a packet to the system. One that it does not take is lost, as on
// a real network.
func (s *systemStack) take(packet []byte) { _, _ = s.tun.Write(packet) }

func (s *systemStack) close() {
	s.tun.Close()
	close(s.work)
	s.wg.Wait()
}
