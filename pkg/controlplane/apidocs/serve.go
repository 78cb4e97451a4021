package apidocs

import (
	"bytes"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"time"

	"github.com/munnerz/goautoneg"
	"k8s.io/klog/v2"
)

// negotiate is upstream's: the first format that a client takes, in its own order.
func negotiate(accept, version string) (in format, contentType string) {
	if accept == "" {
		accept = "*/*"
	}
	accepted := []struct {
		subType string
		format  format
	}{
		{"json", formatJSON},
		{"com.github.proto-openapi.spec." + version + ".v1.0+protobuf", formatProtobuf},
		{"com.github.proto-openapi.spec." + version + "@v1.0+protobuf", formatProtobuf}, // of old clients
	}
	for _, clause := range goautoneg.ParseAccept(accept) {
		for _, is := range accepted {
			if (clause.Type == "application" || clause.Type == "*") && (clause.SubType == is.subType || clause.SubType == "*") {
				if is.format == formatProtobuf {
					return is.format, "application/" + accepted[1].subType
				}
				return is.format, "application/json"
			}
		}
	}
	return "", ""
}

// serve answers with a document. Where a client says which one it expects, by a hash in the query, the answer is for ever.
func serve(w http.ResponseWriter, r *http.Request, version, name string, d *document) {
	w.Header().Add("Vary", "Accept")
	in, contentType := negotiate(r.Header.Get("Accept"), version)
	if in == "" {
		w.WriteHeader(http.StatusNotAcceptable)
		return
	}
	text, err := d.text(in)
	if err != nil {
		klog.FromContext(r.Context()).Error(err, "OpenAPI document cannot be served", "name", name)
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Etag", strconv.Quote(d.etag))
	if hash := r.URL.Query().Get("hash"); hash != "" && version == "v3" {
		if hash != d.etag {
			http.Redirect(w, r, hashedURL(name, d.etag), http.StatusMovedPermanently)
			return
		}
		w.Header().Set("Vary", "Accept")
		w.Header().Set("Cache-Control", "public, immutable")
		w.Header().Set("Expires", time.Now().AddDate(1, 0, 0).Format(time.RFC1123))
	}
	http.ServeContent(w, r, "", d.modified, bytes.NewReader(text))
}

func hashedURL(name, etag string) string {
	return (&url.URL{Path: path.Join(pathV3, name), RawQuery: url.Values{"hash": {etag}}.Encode()}).String()
}
