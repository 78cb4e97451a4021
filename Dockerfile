# The image that `make image` builds without Docker; here for those who have it.
#   docker build -t nestling.dev/nestling:v0.1.0-dev .
FROM --platform=$BUILDPLATFORM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG TARGETARCH
RUN make image-binary ARCH=$TARGETARCH IMAGE_BINARY=/nestling

FROM scratch
COPY --from=build /nestling /nestling
# Numeric, so that runAsNonRoot can tell; any other user that is not root works too.
USER 65532:65532
ENTRYPOINT ["/nestling"]
