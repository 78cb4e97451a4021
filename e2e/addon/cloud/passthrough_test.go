package cloud

import (
	"crypto/tls"
	"io"
	"net"
	"testing"
)

func TestHelloIsReadAndKept(t *testing.T) {
	t.Parallel()
	ours, theirs := net.Pipe()
	defer ours.Close()
	go func() {
		_ = tls.Client(theirs, &tls.Config{ServerName: "tenant.example", MinVersion: tls.VersionTLS12}).Handshake()
	}()
	name, said := hello(ours)
	if name != "tenant.example" {
		t.Errorf("the client wants %q", name)
	}
	// A TLS record of a handshake, whole.
	if len(said) < 5 || said[0] != 22 || len(said) != 5+int(said[3])<<8+int(said[4]) {
		t.Errorf("read %d bytes: % x", len(said), said[:min(len(said), 5)])
	}
	theirs.Close()
	if rest, _ := io.ReadAll(ours); len(rest) > 0 {
		t.Errorf("%d bytes are left", len(rest))
	}
}
