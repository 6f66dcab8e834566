// The AWS SDK for JavaScript v3 against a node: put, get, range, list, multipart, presign, delete.
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import {
  S3Client, PutObjectCommand, GetObjectCommand, HeadObjectCommand, ListObjectsV2Command,
  DeleteObjectsCommand, CopyObjectCommand,
} from "@aws-sdk/client-s3";
import { Upload } from "@aws-sdk/lib-storage";
import { getSignedUrl } from "@aws-sdk/s3-request-presigner";

const Bucket = process.env.TEST_BUCKET;
const client = new S3Client({
  endpoint: process.env.TEST_ENDPOINT, forcePathStyle: true, region: "us-east-1",
  credentials: { accessKeyId: process.env.TEST_ACCESS_KEY, secretAccessKey: process.env.TEST_SECRET_KEY },
});

const body = randomBytes(100_000);
await client.send(new PutObjectCommand({ Bucket, Key: "js/a b+c.bin", Body: body, Metadata: { colour: "blue" } }));
const head = await client.send(new HeadObjectCommand({ Bucket, Key: "js/a b+c.bin" }));
assert.equal(head.ContentLength, body.length);
assert.equal(head.Metadata.colour, "blue");
const got = await client.send(new GetObjectCommand({ Bucket, Key: "js/a b+c.bin", ChecksumMode: "ENABLED" }));
assert.ok(Buffer.from(await got.Body.transformToByteArray()).equals(body));
const part = await client.send(new GetObjectCommand({ Bucket, Key: "js/a b+c.bin", Range: "bytes=10-19" }));
assert.ok(Buffer.from(await part.Body.transformToByteArray()).equals(body.subarray(10, 20)));

const large = randomBytes(12 * 1024 * 1024 + 1);
await new Upload({ client, params: { Bucket, Key: "js/large", Body: large } }).done();
const back = await client.send(new GetObjectCommand({ Bucket, Key: "js/large" }));
assert.ok(Buffer.from(await back.Body.transformToByteArray()).equals(large));

await client.send(new CopyObjectCommand({ Bucket, Key: "js/copy", CopySource: `${Bucket}/js/large` }));
const url = await getSignedUrl(client, new GetObjectCommand({ Bucket, Key: "js/copy" }), { expiresIn: 60 });
const fetched = await fetch(url);
assert.equal(fetched.status, 200);
assert.ok(Buffer.from(await fetched.arrayBuffer()).equals(large));
const putUrl = await getSignedUrl(client, new PutObjectCommand({ Bucket, Key: "js/put" }), { expiresIn: 60 });
assert.equal((await fetch(putUrl, { method: "PUT", body: "hello" })).status, 200);

const listed = await client.send(new ListObjectsV2Command({ Bucket, Prefix: "js/" }));
assert.deepEqual(listed.Contents.map((each) => each.Key), ["js/a b+c.bin", "js/copy", "js/large", "js/put"]);
const gone = await client.send(new DeleteObjectsCommand({
  Bucket, Delete: { Objects: listed.Contents.map(({ Key }) => ({ Key })) },
}));
assert.equal(gone.Deleted.length, 4);
await assert.rejects(client.send(new HeadObjectCommand({ Bucket, Key: "js/large" })), { name: "NotFound" });
console.log("ok");
