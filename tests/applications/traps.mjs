// Ways to rotate a token. Called with the name of one, and a token; prints the status, or of what type a bigint is.
import pg from 'pg';
import postgres from 'postgres';
import { Sequelize } from 'sequelize';

const sequelize = () => new Sequelize(process.env.PGDATABASE, process.env.PGUSER, '', {
  dialect: 'postgres', host: process.env.PGHOST, logging: false,
});

const ways = {
  async pg(token) {
    const { rows } = await new pg.Pool().query('SELECT status FROM auth.rotate_refresh_token($1)', [token]);
    return rows[0].status;
  },
  async sequelize_replacements(token) {
    const replacements = { token };
    const [rows] = await sequelize().query('SELECT status FROM auth.rotate_refresh_token(:token)', { replacements });
    return rows[0].status;
  },
  async sequelize_bind(token) {
    const [rows] = await sequelize().query('SELECT status FROM auth.rotate_refresh_token($token)', { bind: { token } });
    return rows[0].status;
  },
  async pg_bigint(token) {
    const { rows: [row] } = await new pg.Pool().query(
      "SELECT token_id, auth.revoke_user_sessions('nobody') AS count FROM auth.rotate_refresh_token($1)", [token]);
    return `${typeof row.token_id} ${typeof row.count}`;
  },
  async postgres_bigint(token) {
    const [row] = await postgres()`
      SELECT token_id, auth.revoke_user_sessions('nobody') AS count FROM auth.rotate_refresh_token(${token})`;
    return `${typeof row.token_id} ${typeof row.count}`;
  },
};

const [name, token] = process.argv.slice(2);
console.log(await ways[name](token));
process.exit();
