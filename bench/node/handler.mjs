// The add as most people would write it in JavaScript, on AWS SDK v3.
import { createHash } from 'node:crypto';
import { DynamoDBClient, GetItemCommand, TransactWriteItemsCommand } from '@aws-sdk/client-dynamodb';

const client = new DynamoDBClient({});
const table = process.env.TABLE_NAME;

const respond = (statusCode, body) => {
  console.log(JSON.stringify({ level: 'INFO', message: 'request answered', status: statusCode }));
  return { statusCode, headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) };
};

const oneOf = (words, value) => value === undefined || words.includes(value);

export const handler = async (event) => {
  const { client_id, ccid, phone_number } = event.pathParameters ?? {};
  const hash = createHash('sha256').update(event.headers['x-relay-api-key'] ?? '').digest('hex');
  const { Item: key } = await client.send(new GetItemCommand({
    TableName: table,
    Key: { pk: { S: `KEY#${hash}` }, sk: { S: 'KEY' } },
    ConsistentRead: true,
  }));
  if (key?.client_id?.S !== client_id) return respond(401, { message: 'Unauthorized.' });

  let body;
  try {
    const text = event.isBase64Encoded ? Buffer.from(event.body, 'base64').toString() : event.body;
    body = JSON.parse(text || '{}');
  } catch {
    return respond(400, { message: 'The body is invalid.' });
  }
  const { consent_type, phone_type, client_source } = body;
  const valid = /^[0-9]{10,11}$/.test(phone_number)
    && [...ccid].length <= 100
    && oneOf(['mobile', 'landline', 'unknown'], phone_type)
    && oneOf(['written', 'express', 'stop'], consent_type)
    && (client_source === undefined || (client_source.length >= 1 && client_source.length <= 100));
  if (!valid) return respond(400, { message: 'The request is invalid.' });

  const e164 = phone_number.length === 10 ? `+1${phone_number}` : `+${phone_number}`;
  const channel = { t: { N: String(Date.now()) } };
  if (phone_type) channel.p = { S: phone_type };
  if (consent_type) channel.c = { S: consent_type };
  if (client_source) channel.s = { S: client_source };
  const common = { TableName: table, ReturnValuesOnConditionCheckFailure: 'ALL_OLD' };
  try {
    await client.send(new TransactWriteItemsCommand({
      TransactItems: [
        { Update: {
          ...common,
          Key: { pk: { S: `CLIENT#${client_id}#CUSTOMER#${ccid}` }, sk: { S: 'CUSTOMER' } },
          UpdateExpression: 'SET notification_channels.#e164 = :channel ADD phone_count :one',
          ConditionExpression:
            'attribute_exists(pk) AND attribute_not_exists(notification_channels.#e164) AND phone_count < :limit',
          ExpressionAttributeNames: { '#e164': e164 },
          ExpressionAttributeValues: { ':channel': { M: channel }, ':one': { N: '1' }, ':limit': { N: '50' } },
        } },
        { Update: {
          ...common,
          Key: { pk: { S: `CLIENT#${client_id}#PHONE#${e164}` }, sk: { S: 'PHONE' } },
          UpdateExpression: 'ADD ccid_count :one, ccids :ccid_set',
          ConditionExpression: 'attribute_not_exists(pk) OR ccid_count < :limit',
          ExpressionAttributeValues: { ':one': { N: '1' }, ':limit': { N: '50' }, ':ccid_set': { SS: [ccid] } },
        } },
      ],
    }));
  } catch (error) {
    return error.name === 'TransactionCanceledException'
      ? respond(409, { message: 'The phone number cannot be added.' })
      : respond(500, { message: 'Please retry your request.' });
  }
  return respond(200, {
    message: `Phone number ${phone_number} has been added to customer with ccid ${ccid} for client ${client_id}.`,
  });
};
