package main

import (
	"errors"
	"net"

	"golang.org/x/sys/unix"
)

// look asks the kernel what it holds for conn (tcp(7), under "Ioctls").
func look(conn *net.TCPConn) (q queues, err error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return q, err
	}
	var errs [4]error
	err = raw.Control(func(fd uintptr) {
		q.unsent, errs[0] = unix.IoctlGetInt(int(fd), unix.SIOCOUTQ)
		q.unread, errs[1] = unix.IoctlGetInt(int(fd), unix.SIOCINQ)
		q.sendBuffer, errs[2] = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUF)
		q.receiveBuffer, errs[3] = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF)
	})
	return q, errors.Join(err, errors.Join(errs[:]...))
}
