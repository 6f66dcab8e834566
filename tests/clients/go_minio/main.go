// minio-go v7 against a node: signed chunks, multipart, stat, list, copy, presign, remove.
package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

func must[T any](value T, err error) T {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	return value
}

func check(ok bool, what string) {
	if !ok {
		fmt.Fprintln(os.Stderr, "does not hold:", what)
		os.Exit(1)
	}
}

func main() {
	ctx := context.Background()
	bucket := os.Getenv("TEST_BUCKET")
	endpoint := must(url.Parse(os.Getenv("TEST_ENDPOINT")))
	client := must(minio.New(endpoint.Host, &minio.Options{
		Creds:  credentials.NewStaticV4(os.Getenv("TEST_ACCESS_KEY"), os.Getenv("TEST_SECRET_KEY"), ""),
		Secure: endpoint.Scheme == "https",
		Region: "us-east-1",
	}))
	for name, size := range map[string]int{"mg/empty": 0, "mg/small": 200_000, "mg/large": 21 << 20} {
		body := make([]byte, size)
		must(rand.Read(body))
		must(client.PutObject(ctx, bucket, name, bytes.NewReader(body), int64(size),
			minio.PutObjectOptions{PartSize: 5 << 20, UserMetadata: map[string]string{"colour": "blue"}}))
		object := must(client.GetObject(ctx, bucket, name, minio.GetObjectOptions{}))
		check(bytes.Equal(must(io.ReadAll(object)), body), name+" comes back")
		check(must(client.StatObject(ctx, bucket, name, minio.StatObjectOptions{})).Size == int64(size), name+" has its size")
	}
	unknown := must(client.PutObject(ctx, bucket, "mg/unknown", bytes.NewReader([]byte("length unknown")), -1,
		minio.PutObjectOptions{PartSize: 5 << 20}))
	check(unknown.Size == 14, "a stream of unknown length")
	must(client.CopyObject(ctx, minio.CopyDestOptions{Bucket: bucket, Object: "mg/copy"},
		minio.CopySrcOptions{Bucket: bucket, Object: "mg/small"}))
	link := must(client.PresignedGetObject(ctx, bucket, "mg/copy", time.Minute, nil))
	answer := must(http.Get(link.String()))
	check(answer.StatusCode == 200 && len(must(io.ReadAll(answer.Body))) == 200_000, "presigned GET")
	names := []string{}
	for entry := range client.ListObjects(ctx, bucket, minio.ListObjectsOptions{Prefix: "mg/", Recursive: true}) {
		check(entry.Err == nil, "listing")
		names = append(names, entry.Key)
	}
	check(len(names) == 5, fmt.Sprint("five keys are listed: ", names))
	for _, name := range names {
		check(client.RemoveObject(ctx, bucket, name, minio.RemoveObjectOptions{}) == nil, "remove "+name)
	}
	fmt.Println("ok")
}
