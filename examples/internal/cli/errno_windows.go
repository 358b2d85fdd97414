package cli

import "syscall"

// errnos gives the causes of the system's error numbers: those of Windows
// Sockets, which are not the ones that package syscall names E….
var errnos = []struct {
	errno syscall.Errno
	cause Cause
}{
	{10061, Refused},     // WSAECONNREFUSED
	{10060, TimedOut},    // WSAETIMEDOUT
	{10054, Reset},       // WSAECONNRESET
	{10053, Reset},       // WSAECONNABORTED
	{10058, HungUp},      // WSAESHUTDOWN
	{10057, Reset},       // WSAENOTCONN: it was connected once
	{10065, Unreachable}, // WSAEHOSTUNREACH
	{10051, Unreachable}, // WSAENETUNREACH
	{10064, Unreachable}, // WSAEHOSTDOWN
	{10050, Unreachable}, // WSAENETDOWN
	{10048, AddrInUse},   // WSAEADDRINUSE
	{10049, AddrNotOurs}, // WSAEADDRNOTAVAIL
	{10013, Forbidden},   // WSAEACCES
	{10040, TooLong},     // WSAEMSGSIZE
}
