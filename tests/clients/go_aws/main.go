// The AWS SDK for Go v2 against a node: put, get, range, multipart, list, presign, delete.
package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/feature/s3/manager"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
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
	bucket := aws.String(os.Getenv("TEST_BUCKET"))
	client := s3.New(s3.Options{
		BaseEndpoint: aws.String(os.Getenv("TEST_ENDPOINT")),
		UsePathStyle: true,
		Region:       "us-east-1",
		Credentials: credentials.NewStaticCredentialsProvider(
			os.Getenv("TEST_ACCESS_KEY"), os.Getenv("TEST_SECRET_KEY"), ""),
	})
	small := make([]byte, 70_000)
	must(rand.Read(small))
	must(client.PutObject(ctx, &s3.PutObjectInput{Bucket: bucket, Key: aws.String("go/small"),
		Body: bytes.NewReader(small), Metadata: map[string]string{"colour": "blue"}}))
	got := must(client.GetObject(ctx, &s3.GetObjectInput{Bucket: bucket, Key: aws.String("go/small"),
		ChecksumMode: types.ChecksumModeEnabled}))
	check(bytes.Equal(must(io.ReadAll(got.Body)), small), "the body comes back")
	check(got.Metadata["colour"] == "blue", "the metadata comes back")
	ranged := must(client.GetObject(ctx, &s3.GetObjectInput{Bucket: bucket, Key: aws.String("go/small"),
		Range: aws.String("bytes=-5")}))
	check(bytes.Equal(must(io.ReadAll(ranged.Body)), small[len(small)-5:]), "the suffix range")

	large := make([]byte, 13<<20)
	must(rand.Read(large))
	must(manager.NewUploader(client).Upload(ctx, &s3.PutObjectInput{Bucket: bucket,
		Key: aws.String("go/large"), Body: bytes.NewReader(large)}))
	buffer := manager.NewWriteAtBuffer(nil)
	must(manager.NewDownloader(client).Download(ctx, buffer,
		&s3.GetObjectInput{Bucket: bucket, Key: aws.String("go/large")}))
	check(bytes.Equal(buffer.Bytes(), large), "the multipart body comes back")

	signed := must(s3.NewPresignClient(client).PresignGetObject(ctx,
		&s3.GetObjectInput{Bucket: bucket, Key: aws.String("go/small")}))
	answer := must(http.Get(signed.URL))
	check(answer.StatusCode == 200 && bytes.Equal(must(io.ReadAll(answer.Body)), small), "presigned GET")

	_, err := client.PutObject(ctx, &s3.PutObjectInput{Bucket: bucket, Key: aws.String("go/small"),
		Body: bytes.NewReader(small), IfNoneMatch: aws.String("*")})
	check(err != nil, "If-None-Match: * refuses a second write")
	page := must(client.ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: bucket, Prefix: aws.String("go/")}))
	check(len(page.Contents) == 2, "two keys are listed")
	objects := []types.ObjectIdentifier{{Key: aws.String("go/small")}, {Key: aws.String("go/large")}}
	must(client.DeleteObjects(ctx, &s3.DeleteObjectsInput{Bucket: bucket, Delete: &types.Delete{Objects: objects}}))
	_, err = client.GetObject(ctx, &s3.GetObjectInput{Bucket: bucket, Key: aws.String("go/small")})
	var missing *types.NoSuchKey
	check(errors.As(err, &missing), "NoSuchKey after the delete")
	fmt.Println("ok")
}
